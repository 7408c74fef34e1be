"""A server of our own: made, kept, locked, and stopped when its owner dies."""
# ruff: noqa: ASYNC221, ASYNC240 - nothing else runs in these tests' loop

import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import server_user
from abaxus_core.kernel.embedded_postgres import DURABLE, THROW_AWAY, running
from tests.support.postgres import temporary_home

ROOT = Path(__file__).resolve().parents[3]
OWNER = """
import signal, sys
from pathlib import Path
from abaxus_core.kernel.embedded_postgres import THROW_AWAY, running
with running(Path(sys.argv[1]), profile=THROW_AWAY) as server:
    print(server.pid, flush=True)
    signal.pause()
"""

ORPHAN = """
import os, sys
from pathlib import Path
from abaxus_core.kernel import child_processes, embedded_postgres
child_processes.die_with_parent = lambda signal_number: None
home = Path(sys.argv[1])
running = embedded_postgres.running(home, profile=embedded_postgres.THROW_AWAY)
print(running.__enter__().pid, flush=True)
os._exit(0)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as home:
        yield home


async def value_of(dsn: str, statement: str) -> object:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval(statement)
    finally:
        await conn.close()


async def test_data_is_kept_between_runs_and_the_password_too(home: Path) -> None:
    with running(home) as server:
        assert await value_of(server.dsn(), "SHOW fsync") == "on"
        await value_of(server.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
        first = server.dsn()
    with running(home) as server:
        assert await value_of(server.dsn(), "SELECT answer FROM kept") == 42
        assert server.dsn().split("@")[0] == first.split("@")[0]
    with pytest.raises(OSError, match="Connect"):
        await value_of(first, "SELECT 1")


async def test_durable_server_asks_for_its_password_and_keeps_it_private(home: Path) -> None:
    with running(home, profile=DURABLE) as server:
        anonymous = f"postgresql://abaxus@127.0.0.1:{server.port}/postgres?sslmode=disable"
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await value_of(anonymous, "SELECT 1")
        assert stat.S_IMODE((home / "password").stat().st_mode) == 0o600
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert await value_of(server.dsn(), "SHOW listen_addresses") == "127.0.0.1"
        assert await value_of(server.dsn(), "SHOW unix_socket_directories") == ""


async def test_text_sorts_the_same_everywhere_and_is_utf8(home: Path) -> None:
    with running(home, profile=THROW_AWAY) as server:
        assert await value_of(server.dsn(), "SHOW server_encoding") == "UTF8"
        assert await value_of(server.dsn(), "SELECT 'a' > 'B'") is True
        assert await value_of(server.dsn(), "SELECT upper('é')") == "É"


async def test_server_knows_nothing_of_our_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_MASTER_KEY", "m" * 32)
    monkeypatch.setenv("PGOPTIONS", "-c fsync=off")
    with running(home) as server:
        assert b"API_MASTER_KEY" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_folder_in_use_is_refused(home: Path) -> None:
    with (
        running(home, profile=THROW_AWAY),
        pytest.raises(ConfigurationError, match="another process"),
        running(home, profile=THROW_AWAY),
    ):
        pass


def own_in_a_process(home: Path) -> tuple["subprocess.Popen[str]", int]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux's")
def test_server_dies_with_a_killed_owner(home: Path) -> None:
    owner, pid = own_in_a_process(home)
    with owner:
        owner.kill()
    assert is_gone(pid)


async def test_server_that_outlived_its_owner_is_stopped_by_the_next_start(home: Path) -> None:
    orphan = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(home)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    stale = int(orphan.stdout)
    with running(home, profile=THROW_AWAY) as server:
        assert server.pid != stale
        assert is_gone(stale)
        assert await value_of(server.dsn(), "SELECT 1") == 1


def test_half_made_data_folder_is_made_again(home: Path) -> None:
    (home / "data-unfinished").mkdir(parents=True)
    (home / "data-unfinished" / "PG_VERSION").write_text("18\n")
    with running(home, profile=THROW_AWAY) as server:
        assert server.pid > 0


def test_data_of_another_major_version_is_refused_with_a_sentence(home: Path) -> None:
    with running(home, profile=THROW_AWAY):
        pass
    (home / "data" / "PG_VERSION").write_text("13\n")
    with (
        pytest.raises(ConfigurationError, match="made by PostgreSQL 13"),
        running(home, profile=THROW_AWAY),
    ):
        pass


def test_server_that_cannot_start_says_why(home: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="no_such_setting"),
        running(home, profile=THROW_AWAY, settings={"no_such_setting": "1"}),
    ):
        pass


def test_closed_parent_folder_is_avoided_for_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(server_user, "_is_root", lambda: True)
    stand_in = server_user.reachable_home(closed / "postgres")
    assert stand_in.parent == server_user.UNREACHABLE_HOME
    monkeypatch.setattr(server_user, "_is_root", lambda: False)
    assert server_user.reachable_home(closed / "postgres") == closed / "postgres"
