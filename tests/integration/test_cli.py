"""The command line against a real database: what it prints can be used in the next command."""

import os
from asyncio import to_thread

from click.testing import CliRunner, Result

from abaxus_core.cli import cli
from tests.support.postgres import TestDatabases

NARROW = "80"


def run(dsn: str, *arguments: str) -> Result:
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": dsn,
        "API_MASTER_KEY": "k" * 32,
        "COLUMNS": NARROW,
    }
    result = CliRunner(env=environ).invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result


def ids_listed(dsn: str) -> list[str]:
    lines = run(dsn, "keys", "list").output.splitlines()
    return [word for line in lines for word in line.split() if word.startswith("key_")]


async def test_a_key_is_listed_whole_on_a_narrow_terminal(databases: TestDatabases) -> None:
    await to_thread(run, databases.dsn, "keys", "create", "--name", "back end", "--scope", "read")

    (key_id,) = await to_thread(ids_listed, databases.dsn)

    rotated = await to_thread(run, databases.dsn, "keys", "rotate", key_id)
    assert rotated.output.startswith("abx_live_")
    await to_thread(run, databases.dsn, "keys", "revoke", key_id)
    assert await to_thread(ids_listed, databases.dsn) == [key_id]
