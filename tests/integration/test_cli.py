"""The command line against a real database: what it prints can be used in the next command."""

import subprocess
import sys
from asyncio import to_thread

from abaxus_core.kernel import migrations
from tests.support.postgres import Cluster, TestDatabases

NARROW = "80"


def printed(dsn: str, *arguments: str) -> str:
    """Standard output of a command that ends well."""
    ended = subprocess.run(
        [sys.executable, "-m", "abaxus_core.cli", *arguments],
        env={"DATABASE_URL": dsn, "API_MASTER_KEY": "k" * 32, "COLUMNS": NARROW},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


async def test_a_key_is_listed_whole_on_a_narrow_terminal(databases: TestDatabases) -> None:
    dsn = databases.dsn
    first = await to_thread(printed, dsn, "keys", "create", "--name", "shop", "--scope", "read")

    listed = await to_thread(printed, dsn, "keys", "list")

    (key_id,) = (word for word in listed.split() if word.startswith("key_"))
    second = await to_thread(printed, dsn, "keys", "rotate", key_id)
    assert (first[:9], second[:9]) == ("abx_live_", "abx_live_")
    assert first != second
    await to_thread(printed, dsn, "keys", "revoke", key_id)


async def test_migrate_prints_what_it_applied_and_nothing_else(cluster: Cluster) -> None:
    dsn = await cluster.create(migrated=False)

    first = await to_thread(printed, dsn, "migrate")

    assert first.splitlines() == [f"applied {each.name}" for each in migrations.released()]
    assert await to_thread(printed, dsn, "migrate") == ""
