"""Pools, transactions and retries against a real PostgreSQL."""

import asyncio
from typing import Any

import pytest
from asyncpg.exceptions import (
    ConnectionDoesNotExistError,
    PostgresError,
    SerializationError,
    UndefinedTableError,
)

from abaxus_core.errors import ConfigurationError, InvariantBroken
from abaxus_core.kernel.database import (
    TRANSACTION_ATTEMPTS_MAX,
    Connection,
    Database,
    open_databases,
    wake_after_commit,
)
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.waiting import eventually, soon


@pytest.fixture
async def tally(databases: TestDatabases) -> Database:
    """Live mode with a table of two counters."""
    async with databases.live.connection() as conn:
        await conn.execute("CREATE TABLE tally (name text PRIMARY KEY, value integer)")
        await conn.execute("INSERT INTO tally VALUES ('a', 0), ('b', 0)")
    return databases.live


async def value_of(database: Database, name: str) -> int:
    async with database.connection() as conn:
        value: int = await conn.fetchval("SELECT value FROM tally WHERE name = $1", name)
    return value


async def test_modes_are_schemas_and_neither_sees_the_other(databases: TestDatabases) -> None:
    for database in (databases.live, databases.test):
        async with database.connection() as conn:
            assert await conn.fetchval("SELECT current_schemas(false)::text[]") == [database.schema]


async def test_session_is_utc_and_bounded(live: Database) -> None:
    async with live.connection() as conn:
        assert await conn.fetchval("SHOW timezone") == "UTC"
        assert await conn.fetchval("SHOW idle_in_transaction_session_timeout") == "1min"
        assert await conn.fetchval("SHOW application_name") == "abaxus-tests"


async def test_transaction_commits_and_answers(tally: Database) -> None:
    async def work(conn: Connection) -> int:
        await conn.execute("UPDATE tally SET value = 7 WHERE name = 'a'")
        return 42

    assert await tally.transaction(work) == 42
    assert await value_of(tally, "a") == 7


async def test_error_rolls_back_and_is_raised(tally: Database) -> None:
    async def work(conn: Connection) -> None:
        await conn.execute("UPDATE tally SET value = 7 WHERE name = 'a'")
        await conn.execute("SELECT * FROM no_such_table")

    with pytest.raises(UndefinedTableError):
        await tally.transaction(work)
    assert await value_of(tally, "a") == 0


async def test_cancellation_rolls_back(tally: Database) -> None:
    begun = asyncio.Event()

    async def work(conn: Connection) -> None:
        await conn.execute("UPDATE tally SET value = 7 WHERE name = 'a'")
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(tally.transaction(work))
    await soon(begun)
    task.cancel()
    await asyncio.wait([task])
    assert await value_of(tally, "a") == 0


async def test_serialization_failures_are_run_again(tally: Database) -> None:
    async def increment(conn: Connection) -> None:
        value = await conn.fetchval("SELECT value FROM tally WHERE name = 'a'")
        await conn.execute("UPDATE tally SET value = $1 WHERE name = 'a'", value + 1)

    await asyncio.gather(
        *(tally.transaction(increment, isolation="serializable") for _ in range(6))
    )
    assert await value_of(tally, "a") == 6


async def test_deadlock_is_run_again(tally: Database) -> None:
    met = asyncio.Barrier(2)

    async def add(conn: Connection, first: str, second: str, *, meet: list[bool]) -> None:
        await conn.execute("UPDATE tally SET value = value + 1 WHERE name = $1", first)
        if meet:
            meet.clear()
            await met.wait()
        await conn.execute("UPDATE tally SET value = value + 1 WHERE name = $1", second)

    one, two = [True], [True]
    await asyncio.gather(
        tally.transaction(lambda conn: add(conn, "a", "b", meet=one)),
        tally.transaction(lambda conn: add(conn, "b", "a", meet=two)),
    )
    assert [await value_of(tally, name) for name in "ab"] == [2, 2]


async def test_retries_are_bounded(live: Database) -> None:
    runs: list[int] = []

    async def work(_conn: Connection) -> None:
        runs.append(1)
        raise SerializationError("again")

    with pytest.raises(SerializationError):
        await live.transaction(work)
    assert len(runs) == TRANSACTION_ATTEMPTS_MAX


async def test_connections_that_died_idle_are_not_noticed_by_the_next_transaction(
    tally: Database, databases: TestDatabases
) -> None:
    async with open_databases(databases.dsn, SETTINGS) as elsewhere:

        async def hold(conn: Connection) -> None:
            await conn.fetchval("SELECT pg_sleep(0.05)")

        await asyncio.gather(*(elsewhere.live.transaction(hold) for _ in range(5)))
        await cut(tally)
        for _ in range(6):
            await elsewhere.live.transaction(hold)


async def test_connection_that_dies_at_work_is_an_error_and_leaves_the_pool(
    tally: Database, databases: TestDatabases
) -> None:
    runs: list[int] = []
    async with open_databases(databases.dsn, SETTINGS) as elsewhere:

        async def work(conn: Connection) -> None:
            runs.append(1)
            await conn.execute("UPDATE tally SET value = value + 1 WHERE name = 'a'")
            if len(runs) == 1:
                await cut(tally)
                await conn.execute("UPDATE tally SET value = value + 1 WHERE name = 'b'")

        with pytest.raises(ConnectionDoesNotExistError):
            await elsewhere.live.transaction(work)
        await elsewhere.live.transaction(work)
    assert [await value_of(tally, name) for name in "ab"] == [1, 0]


async def cut(database: Database) -> None:
    """Terminate every other session of the database."""
    async with database.connection() as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_both_modes_together_stay_within_the_bound(databases: TestDatabases) -> None:
    settings = type(SETTINGS)(connections_max=8, ssl_mode="disable", application_name="bounded")

    async def hold(conn: Connection) -> None:
        await conn.fetchval("SELECT pg_sleep(0.02)")

    async with open_databases(databases.dsn, settings) as bounded:
        heard = asyncio.Event()
        bounded.listener.subscribe(bounded.live.channel("t"), lambda _payload: heard.set())
        bounded.live.wake("t")
        load = [bounded.live.transaction(hold) for _ in range(20)]
        load += [bounded.test.transaction(hold) for _ in range(20)]
        await asyncio.gather(*load)
        async with databases.live.connection() as conn:
            count = await conn.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bounded'"
            )
    assert count <= 8


async def test_too_few_connections_are_refused(databases: TestDatabases) -> None:
    settings = type(SETTINGS)(connections_max=7, ssl_mode="disable")
    with pytest.raises(ConfigurationError, match="DATABASE_MAX_CONNECTIONS"):
        async with open_databases(databases.dsn, settings):
            pass


async def test_wake_up_follows_the_commit_and_a_rollback_sends_none(
    live: Database, databases: TestDatabases
) -> None:
    heard: list[str] = []
    async with open_databases(databases.dsn, SETTINGS) as elsewhere:
        channel = live.channel("topic")
        elsewhere.listener.subscribe(channel, heard.append)
        await eventually(is_connected, elsewhere.live, channel)
        heard.clear()

        async def fail(_conn: Connection) -> None:
            wake_after_commit("topic", "rolled back")
            raise ValueError("no")

        async def succeed(_conn: Connection) -> None:
            wake_after_commit("topic", "one")
            wake_after_commit("topic", "one")
            wake_after_commit("topic", "two")
            assert heard == []

        with pytest.raises(ValueError, match="no"):
            await live.transaction(fail)
        await live.transaction(succeed)
        async with live.connection():
            wake_after_commit("topic", "at once")
        await eventually(has_heard, heard, {"one", "two", "at once"})
    assert sorted(heard) == ["at once", "one", "two"]


async def is_connected(database: Database, channel: str) -> bool:
    return database.listener.connected(channel)


async def has_heard(heard: list[str], wanted: set[str]) -> bool:
    return wanted <= set(heard)


async def test_wake_up_that_nobody_would_send_is_a_bug() -> None:
    with pytest.raises(InvariantBroken):
        wake_after_commit("topic")


async def test_statement_cache_can_be_turned_off(databases: TestDatabases) -> None:
    settings = type(SETTINGS)(ssl_mode="disable", statement_cache_size=0)
    async with open_databases(databases.dsn, settings) as poolers:

        async def work(conn: Connection) -> Any:
            return await conn.fetchval("SELECT $1::integer + 1", 1)

        assert [await poolers.live.transaction(work) for _ in range(3)] == [2, 2, 2]
        async with poolers.live.connection() as conn:
            assert await conn.fetchval("SELECT count(*) FROM pg_prepared_statements") <= 1


async def test_encryption_is_asked_for_where_the_dsn_does_not_say(
    databases: TestDatabases,
) -> None:
    bare = databases.dsn.partition("?")[0]
    async with open_databases(bare, type(SETTINGS)(ssl_mode="require")) as strict:
        with pytest.raises((ConnectionError, PostgresError)):
            await strict.live.transaction(lambda conn: conn.fetchval("SELECT 1"))
