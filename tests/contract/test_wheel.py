"""The wheel: nothing is left behind, and it migrates a database from a fresh environment."""

import os
import zipfile
from pathlib import Path

import pytest

import abaxus_core
from tests.support import environments
from tests.support.environments import ROOT, build, run
from tests.support.postgres import Cluster

VERSION = abaxus_core.__version__
SHIPPED = {
    "abaxus_core": "abaxus_core",
    "abaxus_plugins": "abaxus_plugins",
    "sql": "abaxus_core/_sql",
}


def tracked_files() -> set[str]:
    """Where each shipped file of the checkout belongs in the wheel."""
    return {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, inside in SHIPPED.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a virtual environment that has the wheel."""
    return environments.make(tmp_path_factory.mktemp("installed"), wheel)


def test_every_file_is_in_the_wheel(wheel: Path) -> None:
    assert contents(wheel) == tracked_files()


def test_the_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    run("tar", "-xzf", sdist, cwd=tmp_path)
    again = build(tmp_path / f"abaxus-{VERSION}", "wheel", tmp_path / "wheel")
    assert contents(again) == contents(wheel)


def test_the_code_is_the_wheels(installed: Path) -> None:
    where = (
        "import abaxus_core, abaxus_plugins; print(abaxus_core.__file__, abaxus_plugins.__file__)"
    )
    for path in run(installed / "bin" / "python", "-c", where, cwd=installed).split():
        assert path.startswith(str(installed))


async def test_it_migrates_an_empty_database(installed: Path, cluster: Cluster) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": await cluster.create(migrated=False),
        "DATABASE_SSL_MODE": "disable",
    }
    abaxus = installed / "bin" / "abaxus"
    run(abaxus, "migrate", cwd=installed, environ=environ)
    run(abaxus, "migrate", "--check", cwd=installed, environ=environ)
    await cluster.drop(environ["DATABASE_URL"])


def test_its_plugins_are_found(installed: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PLUGINS": "sandbox,outbox"}
    plugins = run(installed / "bin" / "abaxus", "plugins", cwd=installed, environ=environ)
    assert "sandbox" in plugins
    assert "outbox" in plugins


def test_the_checks_for_authors_ask_for_pytest_only_when_wanted(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"abaxus-{VERSION}.dist-info/METADATA").decode()
    wanted = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: pytest")]
    assert wanted != []
    assert all("extra == 'conformance'" in line for line in wanted)
