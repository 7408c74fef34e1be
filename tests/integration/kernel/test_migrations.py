"""Migrating a real database: by many at once, half-way, backwards in time."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from asyncpg.exceptions import PostgresSyntaxError

from abaxus_core.errors import NotReady
from abaxus_core.kernel import migrations
from abaxus_core.kernel.migrations import Migration, migrate, parse, pending, released
from tests.support.postgres import SETTINGS, Cluster

ROOT = Path(__file__).resolve().parents[3]
CONTROL = parse("0001_control", "-- abaxus: scope control\nCREATE TABLE abaxus.keys (id text);")
TABLES = parse("0002_tables", "-- abaxus: scope mode\nCREATE TABLE things (id text, n integer);")
INDEX = parse(
    "0003_index",
    "-- abaxus: scope mode\n-- abaxus: no-transaction\n"
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS things_by_n ON things (n);",
)
BREAKING = parse(
    "0004_breaking", "-- abaxus: scope mode\n-- abaxus: breaking\nALTER TABLE things DROP n;"
)
HARMLESS = parse("0004_more", "-- abaxus: scope mode\nCREATE TABLE more (id text);")
BROKEN = parse(
    "0003_broken", "-- abaxus: scope mode\nCREATE TABLE half (id text);\nCREATE TABEL oops ();"
)


@pytest.fixture
async def dsn(cluster: Cluster) -> AsyncIterator[str]:
    """A database that nobody ever migrated."""
    dsn = await cluster.create(migrated=False)
    yield dsn
    await cluster.drop(dsn)


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Any]:
    conn = await asyncpg.connect(dsn)
    yield conn
    await conn.close()


async def tables(conn: Any) -> list[str]:
    rows = await conn.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables"
        " WHERE schemaname LIKE 'abaxus%' ORDER BY 1"
    )
    return [row["name"] for row in rows]


async def apply(dsn: str, *wanted: Migration) -> list[str]:
    return await migrate(dsn, SETTINGS, migrations=wanted)


async def test_control_runs_once_and_mode_in_both_schemas(dsn: str, conn: Any) -> None:
    assert await apply(dsn, CONTROL, TABLES) == ["0001_control", "0002_tables"]
    assert await tables(conn) == [
        "abaxus.keys",
        "abaxus.migrations",
        "abaxus_live.things",
        "abaxus_test.things",
    ]
    assert await apply(dsn, CONTROL, TABLES) == []


async def test_many_at_once_apply_each_once(dsn: str, conn: Any) -> None:
    answers = await asyncio.gather(*(migrate(dsn, SETTINGS) for _ in range(8)))
    assert sorted(len(answer) for answer in answers) == [0] * 7 + [len(released())]
    assert await pending(conn) == []


async def test_many_processes_at_once_apply_each_once(dsn: str, conn: Any) -> None:
    script = (
        "import asyncio, sys\n"
        "from abaxus_core.kernel.migrations import migrate\n"
        "from tests.support.postgres import SETTINGS\n"
        "print(len(asyncio.run(migrate(sys.argv[1], SETTINGS))), file=sys.stderr)\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, dsn, cwd=ROOT, stdout=-3, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    answers = [(await process.communicate())[1].split()[-1] for process in processes]
    assert sorted(int(answer) for answer in answers) == [0, 0, 0, len(released())]
    assert await conn.fetchval("SELECT count(*) FROM abaxus.migrations") == len(released())


async def test_failure_leaves_nothing_of_its_file_and_all_before_it(dsn: str, conn: Any) -> None:
    with pytest.raises(PostgresSyntaxError):
        await apply(dsn, CONTROL, TABLES, BROKEN)
    assert not [name for name in await tables(conn) if name.endswith("half")]
    assert [m.name for m in await pending(conn, migrations=[CONTROL, TABLES, BROKEN])] == [
        "0003_broken"
    ]


async def test_index_is_built_concurrently_in_both_schemas(dsn: str, conn: Any) -> None:
    await apply(dsn, CONTROL, TABLES, INDEX)
    rows = await conn.fetch("SELECT schemaname FROM pg_indexes WHERE indexname = 'things_by_n'")
    assert sorted(row["schemaname"] for row in rows) == ["abaxus_live", "abaxus_test"]


async def test_invalid_index_left_behind_stops_it(dsn: str, conn: Any) -> None:
    await apply(dsn, CONTROL, TABLES)
    await conn.execute("CREATE INDEX things_by_n ON abaxus_live.things (n)")
    await conn.execute(
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = 'abaxus_live.things_by_n'::regclass"
    )
    with pytest.raises(NotReady, match="things_by_n"):
        await apply(dsn, CONTROL, TABLES, INDEX)
    assert await pending(conn, migrations=[CONTROL, TABLES, INDEX]) == [INDEX]


async def test_edited_migration_is_refused(dsn: str, conn: Any) -> None:
    await apply(dsn, CONTROL, TABLES)
    edited = parse("0002_tables", TABLES.text + "\n-- better")
    with pytest.raises(NotReady, match="0002_tables"):
        await apply(dsn, CONTROL, edited)
    with pytest.raises(NotReady, match="never be edited"):
        await migrations.check(conn, migrations=[CONTROL, edited])


async def test_start_is_refused_on_a_schema_that_is_too_old(dsn: str, conn: Any) -> None:
    with pytest.raises(NotReady, match="run `abaxus migrate`"):
        await migrations.check(conn)
    await apply(dsn, CONTROL)
    with pytest.raises(NotReady, match="0002_tables"):
        await migrations.check(conn, migrations=[CONTROL, TABLES])


async def test_start_is_refused_on_a_newer_schema_only_if_it_broke(dsn: str, conn: Any) -> None:
    await apply(dsn, CONTROL, TABLES, INDEX, HARMLESS)
    await migrations.check(conn, migrations=[CONTROL, TABLES, INDEX])
    assert await apply(dsn, CONTROL, TABLES, INDEX) == []


async def test_newer_breaking_schema_is_refused(dsn: str, conn: Any) -> None:
    await apply(dsn, CONTROL, TABLES, INDEX, BREAKING)
    with pytest.raises(NotReady, match="run a newer abaxus"):
        await migrations.check(conn, migrations=[CONTROL, TABLES, INDEX])
    with pytest.raises(NotReady, match="run a newer abaxus"):
        await apply(dsn, CONTROL, TABLES, INDEX)


async def test_lock_that_others_hold_is_waited_for_in_turns(
    dsn: str, conn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 20)
    monkeypatch.setattr(migrations, "LOCK_RETRY_DELAY_MS", 10)
    await apply(dsn, CONTROL, TABLES)
    drop = parse("0003_drop", "-- abaxus: scope mode\nALTER TABLE things ADD extra text;")
    async with conn.transaction():
        await conn.execute("LOCK TABLE abaxus_live.things IN ACCESS SHARE MODE")
        applying = asyncio.create_task(apply(dsn, CONTROL, TABLES, drop))
        await asyncio.sleep(0.1)
    assert await applying == ["0003_drop"]
