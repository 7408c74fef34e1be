"""The lock files: every package pinned and hashed, no address in them, and what ships agrees."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = sorted(path.name for path in REQUIREMENTS.iterdir())
PINNED = re.compile(r"^[a-z0-9-]+==\S+( ; .+)?$")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(lock: str) -> list[str]:
    """Each requirement with its hashes, on one line."""
    return (REQUIREMENTS / lock).read_text().replace("\\\n", " ").splitlines()


def pins(lock: str) -> dict[str, str]:
    found = (Requirement(entry.split(" --hash")[0]) for entry in entries(lock))
    return {requirement.name: str(requirement.specifier) for requirement in found}


def test_all_six_are_here() -> None:
    assert LOCKS == ["bench.txt", "build.txt", "dev.txt", "image.txt", "peers.txt", "run.txt"]


@pytest.mark.parametrize("lock", LOCKS)
def test_no_address(lock: str) -> None:
    text = (REQUIREMENTS / lock).read_text()
    assert "://" not in text
    assert not re.search(
        r"^\s*-", re.sub(r"^\s+--hash=.*$", "", text, flags=re.MULTILINE), re.MULTILINE
    )


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_is_pinned_and_hashed(lock: str) -> None:
    for entry in entries(lock):
        pin, *hashes = re.split(r"\s+(?=--hash)", entry.strip())
        assert PINNED.match(pin), entry
        assert hashes, entry
        assert all(HASH.fullmatch(value.strip()) for value in hashes), entry


@pytest.mark.parametrize("lock", ["build.txt", "image.txt", "run.txt"])
def test_what_is_tested_is_what_ships(lock: str) -> None:
    assert pins(lock).items() <= pins("dev.txt").items()


def test_what_is_measured_is_what_is_tested() -> None:
    bench, dev = pins("bench.txt"), pins("dev.txt")
    assert {name: bench[name] for name in bench.keys() & dev.keys()}.items() <= dev.items()
