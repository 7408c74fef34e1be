"""Usage recorded by SQL: with the application's row or not at all, and by nobody else's right."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from abaxus_core.kernel import embedded_postgres
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import Connection, open_databases
from abaxus_core.kernel.embedded_postgres import DURABLE
from abaxus_core.kernel.migrations import migrate
from abaxus_core.repositories import metrics
from abaxus_core.services.ingestion import Accepted
from abaxus_core.services.topics import INBOX
from abaxus_core.services.work import Context
from tests.support.api import Api, serving
from tests.support.metering import (
    T0,
    context_of,
    event,
    fetch,
    land_all,
    make_catalogue,
    offer,
)
from tests.support.postgres import SETTINGS, TestDatabases, temporary_home
from tests.support.recording import RECORD_TEST, connected, make_application, order, record
from tests.support.waiting import eventually, soon

DOCS = Path(__file__).parents[3] / "docs" / "recording.md"
SCHEMAS = ["abaxus", "abaxus_live", "abaxus_test"]
HOSTILE_SETTINGS = (
    'search_path = pg_temp, "$user", abaxus, pg_catalog',
    "standard_conforming_strings = off",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'sql_standard'",
    "TimeZone = 'Pacific/Apia'",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    "transform_null_equals = on",
)
EVENTS = "SELECT idempotency_key, value FROM events ORDER BY idempotency_key"


@pytest.fixture
async def application(databases: TestDatabases) -> str:
    return await make_application(databases.dsn)


@pytest.fixture
async def conn(application: str) -> AsyncIterator[Connection]:
    async with connected(application) as conn:
        yield conn


async def test_a_committed_event_lands_as_it_was_recorded(
    context: Context, conn: Connection
) -> None:
    await record(
        conn, "k", value=Decimal("-2.50"), timestamp=T0 + timedelta(microseconds=1),
        properties='{"b": [1.50, {"z": null, "a": "ü"}], "a": 12345678901234567890123}',
    )  # fmt: skip
    await land_all(context)
    assert await fetch(
        context.database,
        "SELECT idempotency_key, value, occurred_at, subscription_id, properties::text FROM events",
    ) == [
        (
            "k",
            Decimal("-2.5"),
            T0 + timedelta(microseconds=1),
            None,
            '{"a": 12345678901234567890123, "b": [1.50, {"a": "ü", "z": null}]}',
        )
    ]


async def test_the_business_row_and_its_event_are_committed_together(
    context: Context, conn: Connection
) -> None:
    async with conn.transaction():
        await order(conn, "o1")
    await land_all(context)
    assert await conn.fetchval("SELECT count(*) FROM orders") == 1
    assert await fetch(context.database, EVENTS) == [("o1", Decimal(1))]


async def test_the_business_row_and_its_event_are_rolled_back_together(
    context: Context, conn: Connection
) -> None:
    rolled_back = conn.transaction()
    await rolled_back.start()
    await order(conn, "o1")
    await rolled_back.rollback()
    await land_all(context)
    assert await conn.fetchval("SELECT count(*) FROM orders") == 0
    assert await fetch(context.database, EVENTS) == []


async def test_a_savepoint_takes_its_event_along(context: Context, conn: Connection) -> None:
    async with conn.transaction():
        await order(conn, "kept")
        undone = conn.transaction()
        await undone.start()
        await order(conn, "undone")
        await undone.rollback()
    await land_all(context)
    assert await fetch(context.database, EVENTS) == [("kept", Decimal(1))]


async def test_an_event_that_is_not_committed_does_not_land(
    context: Context, conn: Connection
) -> None:
    async with conn.transaction():
        await order(conn, "o1")
        assert await land_all(context) == []
    assert [landed.stored_count for landed in await land_all(context)] == [1]


async def test_a_refused_event_takes_the_business_row_back(
    context: Context, conn: Connection
) -> None:
    await conn.execute("BEGIN")
    await conn.execute("INSERT INTO orders VALUES ('o1')")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await record(conn, "o1", customer_id="nobody")
    await conn.execute("COMMIT")
    assert await conn.fetchval("SELECT count(*) FROM orders") == 0
    assert await land_all(context) == []


async def test_a_backend_that_dies_before_the_commit_leaves_neither(
    context: Context, conn: Connection, application: str
) -> None:
    async with connected(application) as other:
        await other.execute("BEGIN")
        await order(other, "o1")
        pid = await other.fetchval("SELECT pg_backend_pid()")
        killed = "SELECT pg_terminate_backend($1, 10000)"
        assert await fetch(context.database, killed, pid) == [(True,)]
    assert await conn.fetchval("SELECT count(*) FROM orders") == 0
    assert await land_all(context) == []


async def test_the_loss_of_power_keeps_both_or_neither(tmp_path: Path) -> None:
    with temporary_home() as home:
        with embedded_postgres.running(home, profile=DURABLE) as server:
            await migrate(server.dsn(), SETTINGS)
            async with open_databases(server.dsn(), SETTINGS) as databases:
                await make_catalogue(databases.live)
            application = await make_application(server.dsn())
            async with connected(application) as done, connected(application) as open_:
                async with done.transaction():
                    await order(done, "committed")
                await open_.execute("BEGIN")
                await order(open_, "open")
                os.kill(server.pid, signal.SIGQUIT)
        with embedded_postgres.running(home, profile=DURABLE) as server:
            async with open_databases(server.dsn(), SETTINGS) as databases:
                context = context_of(databases.live, system_clock)
                assert [landed.stored_count for landed in await land_all(context)] == [1]
                assert await land_all(context) == []
                assert await fetch(context.database, EVENTS) == [("committed", Decimal(1))]
            async with connected(_at(application, server.dsn())) as conn:
                assert await conn.fetchval("SELECT string_agg(order_id, ',') FROM orders") == (
                    "committed"
                )


async def test_transactions_at_once_land_each_key_once(context: Context, application: str) -> None:
    async def run(place: int) -> None:
        async with connected(application) as conn:
            for number in range(10):
                async with conn.transaction():
                    await order(conn, f"{place}-{number}")
                    await record(conn, f"shared-{number}")

    await asyncio.gather(*(run(place) for place in range(8)), land_all(context))
    await land_all(context)
    assert await fetch(context.database, "SELECT count(*), sum(value) FROM events") == [
        (90, Decimal(90))
    ]
    assert await fetch(
        context.database, "SELECT sum(event_count), sum(value_sum) FROM usage_daily"
    ) == [(90, Decimal(90))]
    assert await fetch(context.database, "SELECT 1 FROM event_conflicts") == []


async def test_a_replay_counts_once_and_answers_the_same_id(
    context: Context, conn: Connection
) -> None:
    first = await record(conn)
    assert await record(conn) == first
    await land_all(context)
    assert await record(conn, value=Decimal("1.000")) == first
    await land_all(context)
    assert await fetch(context.database, EVENTS) == [("k1", Decimal(1))]
    assert await fetch(context.database, "SELECT 1 FROM event_conflicts") == []


async def test_a_replay_is_taken_though_its_metric_was_switched_off(
    context: Context, conn: Connection
) -> None:
    first = await record(conn)
    await land_all(context)
    await context.database.transaction(lambda owner: metrics.set_status(owner, "total", "inactive"))
    assert await record(conn) == first
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await record(conn, "another")


async def test_the_same_key_over_both_ways_counts_once(context: Context, conn: Connection) -> None:
    for key, fields in (("recorded first", {}), ("ü ' \" \\", {"properties": {"a": 1}})):
        sql = await record(conn, key, properties='{"a": 1}' if fields else None)
        (answer,) = await context.intake.accept([event(key, **fields)])
        assert isinstance(answer, Accepted)
        assert (answer.event_id, answer.duplicate) == (sql, False)
        await land_all(context)
        (answer,) = await context.intake.accept([event(key, **fields)])
        assert isinstance(answer, Accepted)
        assert (answer.event_id, answer.duplicate) == (sql, True)
    assert await fetch(context.database, "SELECT count(*) FROM events") == [(2,)]
    assert await fetch(context.database, "SELECT 1 FROM event_conflicts") == []


async def test_another_payload_under_a_known_key_is_kept_as_a_conflict(
    context: Context, conn: Connection
) -> None:
    await offer(context, event("k1"))
    await record(conn, "k1", value=Decimal(2))
    await record(conn, "k1", timestamp=T0 + timedelta(hours=1))
    await land_all(context)
    assert await fetch(context.database, EVENTS) == [("k1", Decimal(1))]
    assert await fetch(
        context.database, "SELECT event ->> 'value' FROM event_conflicts ORDER BY 1"
    ) == [("1",), ("2",)]


@pytest.mark.parametrize(
    "properties",
    [
        "{}",
        '{"b": "x", "a": true, "ab": null, "B": false}',
        '{"n": 0, "m": -5, "k": 1.0, "j": 0.10, "i": 12.5, "h": 123456789012345678901234567890}',
        '{"h": 1' + "0" * 50 + '.5, "g": 0.000000001, "f": 1.5E-2}',
        '{"deep": {"z": [1, 2.50, {"y": [], "x": {}}], "a": " spaced  text "}}',
        '{"text": "tab\\t quote\\" slash\\/ back\\\\ \\u00fc \\ud83d\\ude00 \\u007f \\u0001"}',
        '{"a": 1e3, "b": [-0.0, -0, 1.50e1, {"c": 1E-5}], "d": "1E5 -0"}',
        '{"é": 1, "z": 2, "\\ud83d\\ude00": 3, "": 4}',
    ],
)
async def test_properties_are_one_payload_over_both_ways(
    databases: TestDatabases, context: Context, conn: Connection, properties: str
) -> None:
    await _send_both_ways(databases, context, conn, properties)
    assert await fetch(context.database, "SELECT 1 FROM event_conflicts") == []


@pytest.mark.parametrize(
    ("fields", "column", "sqlstate", "detail"),
    [
        ({"customer_id": None}, "customer_id", "22004", "VALIDATION_FAILED"),
        ({"metric_key": None}, "metric_key", "22004", "VALIDATION_FAILED"),
        ({"value": None}, "value", "22004", "VALIDATION_FAILED"),
        ({"timestamp": None}, "timestamp", "22004", "VALIDATION_FAILED"),
        ({"key": None}, "idempotency_key", "22004", "VALIDATION_FAILED"),
        ({"customer_id": "nobody"}, "customer_id", "23503", "CUSTOMER_NOT_FOUND"),
        ({"customer_id": ""}, "customer_id", "23503", "CUSTOMER_NOT_FOUND"),
        ({"metric_key": "nothing"}, "metric_key", "23503", "METRIC_NOT_FOUND"),
        ({"metric_key": "gone"}, "metric_key", "55000", "METRIC_INACTIVE"),
        ({"key": ""}, "idempotency_key", "22023", "VALIDATION_FAILED"),
        ({"key": "ü" * 256}, "idempotency_key", "22023", "VALIDATION_FAILED"),
        ({"value": Decimal("NaN")}, "value", "22023", "VALIDATION_FAILED"),
        ({"value": Decimal("-Infinity")}, "value", "22023", "VALIDATION_FAILED"),
        ({"value": Decimal("-1E+28")}, "value", "22023", "VALIDATION_FAILED"),
        ({"value": Decimal("0.00000000001")}, "value", "22023", "VALIDATION_FAILED"),
        ({"value": Decimal("1.5"), "metric_key": "whole"}, "value", "22023", "VALIDATION_FAILED"),
        (
            {"timestamp": datetime(1899, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)},
            "timestamp", "22023", "VALIDATION_FAILED",
        ),
        (
            {"timestamp": datetime(9000, 1, 1, tzinfo=UTC)},
            "timestamp", "22023", "VALIDATION_FAILED",
        ),
        (
            {"timestamp": datetime(8999, 12, 31, tzinfo=UTC)},
            "timestamp", "22023", "TIMESTAMP_IN_FUTURE",
        ),
        ({"properties": "[]"}, "properties", "22023", "VALIDATION_FAILED"),
        ({"properties": "null"}, "properties", "22023", "VALIDATION_FAILED"),
        ({"properties": '"{}"'}, "properties", "22023", "VALIDATION_FAILED"),
        ({"metric_key": "users"}, "properties", "22023", "VALIDATION_FAILED"),
        (
            {"metric_key": "users", "properties": '{"user": null}'},
            "properties", "22023", "VALIDATION_FAILED",
        ),
    ],
)  # fmt: skip
async def test_a_refusal_names_the_parameter(
    context: Context,
    conn: Connection,
    fields: dict[str, object],
    column: str,
    sqlstate: str,
    detail: str,
) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await record(conn, **fields)
    told = refused.value
    assert (told.column_name, told.sqlstate, told.detail) == (column, sqlstate, detail)
    assert str(told).startswith(f"{column} ")
    assert await fetch(context.database, "SELECT 1 FROM event_inbox") == []


@pytest.mark.parametrize("instant", ["infinity", "-infinity"])
async def test_an_infinite_timestamp_is_refused(
    context: Context, conn: Connection, instant: str
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await conn.execute(f"SELECT abaxus.record_event('acme', 'total', 1, '{instant}', 'k')")


@pytest.mark.parametrize(
    "fields",
    [
        {"value": Decimal("9" * 28 + ".9999999999")},
        {"value": Decimal("0.0000000001")},
        {"value": Decimal("3.00"), "metric_key": "whole"},
        {"key": "ü" * 255},
        {"timestamp": datetime(1900, 1, 1, tzinfo=UTC)},
        {"metric_key": "users", "properties": '{"user": false}'},
    ],
)
async def test_what_just_fits_lands(
    context: Context, conn: Connection, fields: dict[str, object]
) -> None:
    await record(conn, **fields)
    assert [landed.stored_count for landed in await land_all(context)] == [1]


@pytest.mark.parametrize(
    "properties",
    [
        "{" + ", ".join(f'"k{n}": {n}' for n in range(64)) + "}",
        "{" + ", ".join(f'"k{n}": {n}' for n in range(65)) + "}",
        '{"a": "' + "x" * 16_370 + '"}',
        '{"a": "' + "x" * 16_390 + '"}',
        '{"a": ' + "[" * 32 + "1" + "]" * 32 + "}",
        '{"a": ' + "[" * 33 + "1" + "]" * 33 + "}",
        '{"a": ' + '{"b": ' * 32 + "1" + "}" * 32 + "}",
        '{"a": ' + '{"b": ' * 33 + "1" + "}" * 33 + "}",
        '{"a": ' + "[" * 2_000 + "]" * 2_000 + "}",
        '{"a": [1.5e308, -1.5e308]}',
        '{"a": [1e309]}',
        '{"a": {"b": -1e400}}',
    ],
)
async def test_properties_are_bounded_as_those_of_the_api_are(
    databases: TestDatabases, context: Context, conn: Connection, properties: str
) -> None:
    async with serving(databases, context.clock) as api:
        answer = await _post(api, properties)
    if answer.status_code == 202:
        await record(conn, properties=properties)
        assert [landed.quarantined_count for landed in await land_all(context)] == [0]
    else:
        assert answer.status_code in (400, 422)
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await record(conn, properties=properties)


async def test_each_mode_has_its_function(
    databases: TestDatabases, context: Context, conn: Connection
) -> None:
    await make_catalogue(databases.test, ["solo"])
    for turn in range(2):
        await record(conn, f"live {turn}")
        await record(conn, f"test {turn}", customer_id="solo", statement=RECORD_TEST)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await record(conn, statement=RECORD_TEST)
    await land_all(context)
    await land_all(context_of(databases.test, context.clock))
    assert [key for key, _ in await fetch(databases.live, EVENTS)] == ["live 0", "live 1"]
    assert [key for key, _ in await fetch(databases.test, EVENTS)] == ["test 0", "test 1"]


async def test_nobody_may_record_until_it_is_granted(
    databases: TestDatabases, context: Context
) -> None:
    async with connected(await make_application(databases.dsn, granted=False)) as stranger:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await record(stranger)
        role = await stranger.fetchval("SELECT current_user")
        await fetch(databases.live, f'GRANT USAGE ON SCHEMA abaxus TO "{role}"')
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await record(stranger)


async def test_a_recorder_may_do_nothing_else(
    databases: TestDatabases, context: Context, conn: Connection
) -> None:
    await record(conn)
    tables = await fetch(
        databases.live,
        "SELECT format('%I.%I', nspname, relname) FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE nspname = ANY ($1) AND relkind IN ('r', 'p', 'v', 'S')",
        SCHEMAS,
    )
    assert len(tables) > 40
    for (table,) in tables:
        for statement in ("SELECT * FROM {}", "DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(statement.format(table))
    executable = await conn.fetch(
        "SELECT p.oid::regproc::text AS name FROM pg_proc AS p"
        " JOIN pg_namespace AS n ON n.oid = p.pronamespace"
        " WHERE n.nspname = ANY ($1) AND has_schema_privilege(n.oid, 'USAGE')"
        " AND has_function_privilege(p.oid, 'EXECUTE')",
        SCHEMAS,
    )
    assert sorted(row["name"] for row in executable) == [
        "abaxus.record_event",
        "abaxus.record_test_event",
    ]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conn.execute("CREATE TABLE abaxus.mine ()")


async def test_nothing_that_the_caller_sets_or_makes_changes_what_is_recorded(
    context: Context, application: str, conn: Connection
) -> None:
    for table in ("customers", "metrics", "event_inbox", "event_keys"):
        await conn.execute(f"CREATE TEMPORARY TABLE {table} (customer_no integer)")
    await conn.execute(
        "CREATE FUNCTION sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1';"
        "CREATE FUNCTION holds(numeric, numeric) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
        "CREATE OPERATOR < (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = holds)"
    )
    for setting in HOSTILE_SETTINGS:
        await conn.execute(f"SET {setting}")
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await record(conn, value=Decimal("NaN"))
    fields = {"value": Decimal("2.50"), "properties": '{"a": "x\\\\y", "b": 1.50}'}
    async with connected(application) as ordinary:
        assert await record(conn, **fields) == await record(ordinary, **fields)
    await land_all(context)
    assert await fetch(context.database, EVENTS) == [("k1", Decimal("2.5"))]
    assert await fetch(context.database, "SELECT 1 FROM event_conflicts") == []


async def test_the_documented_example_runs(databases: TestDatabases, context: Context) -> None:
    await context.database.transaction(_parcels)
    set_up, *theirs, notify = DOCS.read_text(encoding="utf-8").split("```sql\n")[1:]
    owner = await asyncpg.connect(databases.dsn)
    woken = asyncio.Event()
    databases.listener.subscribe(context.database.channel(INBOX), lambda _payload: woken.set())
    try:
        await owner.execute("CREATE ROLE shop LOGIN PASSWORD 'shop'")
        await owner.execute("CREATE SCHEMA shop AUTHORIZATION shop")
        await owner.execute(set_up.split("```")[0])
    finally:
        await owner.close()
    parts = urlsplit(databases.dsn)
    address = f"shop:shop@{parts.hostname}:{parts.port}"
    await eventually(_listens, databases, context.database.channel(INBOX))
    async with connected(parts._replace(netloc=address).geturl()) as conn:
        for block in theirs:
            await conn.execute(block.split("```")[0])
        woken.clear()
        await conn.execute(notify.split("```")[0])
    await soon(woken)
    await land_all(context)
    assert await fetch(
        context.database,
        "SELECT idempotency_key, value, properties ->> 'zone' FROM events ORDER BY 1",
    ) == [("parcel-1", Decimal("2.5"), "eu"), ("parcel-2", Decimal("1.25"), "us")]


async def _listens(databases: TestDatabases, channel: str) -> bool:
    return databases.listener.connected(channel)


async def _parcels(conn: Connection) -> None:
    await conn.execute("UPDATE metrics SET metric_key = 'parcel_kg' WHERE metric_key = 'total'")


async def _send_both_ways(
    databases: TestDatabases, context: Context, conn: Connection, properties: str
) -> None:
    """The same event over HTTP and by SQL, its properties being this text."""
    async with serving(databases, context.clock) as api:
        answer = await _post(api, properties)
    assert answer.status_code == 202
    assert await record(conn, properties=properties) == answer.json()["event_id"]
    await land_all(context)
    assert await fetch(context.database, "SELECT count(*) FROM events") == [(1,)]


async def _post(api: Api, properties: str) -> httpx.Response:
    """The event that `record` records by default, over HTTP."""
    body = (
        '{"customer_id": "acme", "metric_key": "total", "value": "1", "idempotency_key": "k1",'
        f' "timestamp": "2026-05-01T00:00:00Z", "properties": {properties}}}'
    )
    return await api.client.post(
        "/v1/events", content=body, headers={"Content-Type": "application/json"}
    )


def _at(application: str, dsn: str) -> str:
    """The application's DSN, on a server that came up at another port."""
    theirs, now = urlsplit(application), urlsplit(dsn)
    return theirs._replace(
        netloc=f"{theirs.username}:{theirs.password}@{now.hostname}:{now.port}"
    ).geturl()
