"""Start against a database that cannot be had: one sentence, no secret, exit code 1."""

import subprocess
import sys

import pytest

from tests.support.postgres import Cluster

UNUSED_PORT = 1
PASSWORD = "hunter2"


def url(*, role: str, port: int, database: str) -> str:
    return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable"


def started(command: list[str], dsn: str) -> "subprocess.CompletedProcess[str]":
    environ = {"DATABASE_URL": dsn, "API_MASTER_KEY": "k" * 32, "DATABASE_CONNECT_TIMEOUT": "5s"}
    return subprocess.run(
        [sys.executable, "-m", "abaxus_core.cli", *command],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", [["api"], ["worker"], ["migrate"], ["migrate", "--check"]])
def test_a_server_that_is_not_there(command: list[str]) -> None:
    ended = started(command, url(role="abaxus", port=UNUSED_PORT, database="postgres"))

    assert ended.returncode == 1
    assert ended.stderr.startswith("abaxus: DATABASE_URL: the database cannot be used: ")
    assert len(ended.stderr.splitlines()) == 1
    assert PASSWORD not in ended.stderr


@pytest.mark.parametrize(
    ("role", "database", "why"),
    [("nobody", "postgres", "nobody"), ("abaxus", "missing", "missing")],
)
def test_a_server_that_refuses(cluster: Cluster, role: str, database: str, why: str) -> None:
    ended = started(["api"], url(role=role, port=cluster.server.port, database=database))

    assert ended.returncode == 1
    assert why in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert PASSWORD not in ended.stderr
