"""Sealing the audit log: everything once, in seals of bounded size, whoever commits when."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import msgspec
import pytest

from abaxus_core.domain.instants import microseconds
from abaxus_core.kernel import sql
from abaxus_core.kernel.database import Connection, Database, open_databases
from abaxus_core.kernel.ids import Ids
from abaxus_core.kernel.migrations import migrate, released
from abaxus_core.kernel.queue_worker import QueueWorker
from abaxus_core.repositories import audit
from abaxus_core.repositories import audit_seals as repository
from abaxus_core.services import audit_seals
from abaxus_core.services.audit_seals import SEAL_ENTRIES_MAX
from abaxus_core.services.verification import audit_chain
from abaxus_core.services.work import SYSTEM, Context, Work, perform
from abaxus_core.worker import handlers
from tests.support.audit_chain import append_entries, found_in, seals, waiting, write_entries
from tests.support.clock import FakeClock
from tests.support.jobs import QUICK
from tests.support.logs import logged_by
from tests.support.metering import T0, context_of, fetch
from tests.support.plans import walk
from tests.support.postgres import SETTINGS, Cluster, TestDatabases
from tests.support.waiting import WAIT_MAX_S, eventually, soon

SEALERS = 2
HISTORY = 5 * SEAL_ENTRIES_MAX
OVERTAKEN = "overtaken"
MIGRATION = 11
OLD_ENTRY = """
    INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
    VALUES (gen_random_uuid(), now(), 'system', 'invoice.issued', 'invoice', 'inv_1', '{}')
"""


@pytest.fixture
async def context(live: Database, clock: FakeClock) -> Context:
    return context_of(live, clock)


async def test_what_waits_is_sealed_in_order(context: Context, live: Database) -> None:
    await write_entries(live, 3)
    await write_entries(live, 2)
    assert await waiting(live) == [1, 2, 3, 4, 5]
    await audit_seals.seal(context)
    await write_entries(live, 2)
    await audit_seals.seal(context)
    assert await seals(live) == [[1, 2, 3, 4, 5], [6, 7]]
    assert await waiting(live) == []
    assert await found_in(live) == []


async def test_an_entry_alone_waits_for_its_seal_too(
    context: Context, live: Database, ids: Ids
) -> None:
    entry = audit.Entry(
        id=ids.new("aud"),
        at=T0,
        actor="key_1",
        action="customer.created",
        object_type="customer",
        object_id="acme",
        data={"ä": [1.5, None, {"b": "ü\n"}], "at": T0},
    )
    await live.transaction(lambda conn: audit.append(conn, entry))
    assert await waiting(live) == [1]
    await audit_seals.seal(context)
    assert (await seals(live), await found_in(live)) == ([[1]], [])


async def test_nothing_to_seal_makes_no_seal(context: Context, live: Database) -> None:
    await audit_seals.seal(context)
    await write_entries(live)
    await audit_seals.seal(context)
    await audit_seals.seal(context)
    assert await seals(live) == [[1]]


async def test_a_seal_is_bounded_and_one_job_makes_as_many_as_it_takes(
    context: Context, live: Database
) -> None:
    count = 2 * SEAL_ENTRIES_MAX + 1
    await write_entries(live, count)
    await audit_seals.seal(context)
    made = await seals(live)
    assert [len(audit_nos) for audit_nos in made] == [SEAL_ENTRIES_MAX, SEAL_ENTRIES_MAX, 1]
    assert [no for audit_nos in made for no in audit_nos] == list(range(1, count + 1))
    async with live.connection() as conn:
        checked: list[int] = []
        assert [one async for one in audit_chain.findings(conn, checked.append)] == []
        assert sum(checked) == await audit_chain.size(conn) == count


async def test_the_head_is_the_last_seal_and_is_logged(context: Context, live: Database) -> None:
    async with live.connection() as conn:
        assert await audit_chain.head(conn) is None
    await write_entries(live)
    await audit_seals.seal(context)
    await write_entries(live)
    with logged_by(audit_seals) as lines:
        await audit_seals.seal(context)
    async with live.connection() as conn:
        head = await audit_chain.head(conn)
    assert head is not None
    ((stored,),) = await fetch(live, "SELECT hash FROM audit_seals WHERE seal_no = 2")
    assert (head.seal_no, head.hash) == (2, stored)
    (line,) = lines
    assert (line["event"], line["seal_no"], line["seal_hash"]) == ("audit.sealed", 2, stored.hex())


async def test_instants_are_counted_as_postgresql_counts_them(
    context: Context, live: Database
) -> None:
    await write_entries(live)
    async with live.connection() as conn:
        entries = await repository.entries(conn, [1])
    assert entries[1].at_us == microseconds(T0)
    await audit_seals.seal(context)
    async with live.connection() as conn:
        seal = await repository.next_seal(conn, after_no=0, last_no=1)
    assert seal is not None
    assert seal.sealed_at_us == microseconds(context.clock())


async def test_who_commits_late_is_sealed_late(context: Context, live: Database) -> None:
    """An entry with a lower number than those sealed already, as concurrent writers leave it."""
    written, commit = asyncio.Event(), asyncio.Event()

    async def slow(conn: Connection) -> None:
        await append_entries(conn, 2)
        written.set()
        await commit.wait()

    writer = asyncio.create_task(live.transaction(slow))
    await soon(written)
    await write_entries(live, 2)
    await audit_seals.seal(context)
    assert await seals(live) == [[3, 4]]
    assert await found_in(live) == []
    commit.set()
    await writer
    await audit_seals.seal(context)
    assert await seals(live) == [[3, 4], [1, 2]]
    assert await found_in(live) == []


async def test_writers_and_sealers_at_once_leave_nothing_out(
    context: Context, live: Database
) -> None:
    async def write() -> None:
        for _ in range(20):
            await write_entries(live, 3)

    async def seal() -> None:
        for _ in range(20):
            await audit_seals.seal(context)
            assert await found_in(live) == []

    await asyncio.gather(*(write() for _ in range(4)), *(seal() for _ in range(2)))
    await audit_seals.seal(context)
    sealed = sorted(no for audit_nos in await seals(live) for no in audit_nos)
    assert sealed == list(range(1, 4 * 20 * 3 + 1))
    assert (await waiting(live), await found_in(live)) == ([], [])


async def test_writers_do_not_wait_for_a_sealer(context: Context, live: Database) -> None:
    sealed, commit = asyncio.Event(), asyncio.Event()

    async def slow(work: Work) -> None:
        await audit_seals.seal_next(work)
        sealed.set()
        await commit.wait()

    await write_entries(live, 2)
    sealer = asyncio.create_task(perform(context, SYSTEM, slow))
    await soon(sealed)
    async with asyncio.timeout(WAIT_MAX_S):
        await write_entries(live, 2)
    assert await waiting(live) == [1, 2, 3, 4]
    commit.set()
    await sealer
    assert (await waiting(live), await seals(live)) == ([3, 4], [[1, 2]])


async def test_entries_older_than_seals_wait_for_one(cluster: Cluster, clock: FakeClock) -> None:
    dsn = await cluster.create(migrated=False)
    before = [one for one in released() if one.number < MIGRATION]
    await migrate(dsn, SETTINGS, migrations=before)
    try:
        async with open_databases(dsn, SETTINGS) as databases:
            for _ in range(2):
                await fetch(databases.live, OLD_ENTRY)
            await migrate(dsn, SETTINGS)
            await write_entries(databases.live)
            assert await waiting(databases.live) == [1, 2, 3]
            assert await waiting(databases.test) == []
            await audit_seals.seal(context_of(databases.live, clock))
            assert await seals(databases.live) == [[1, 2, 3]]
            assert await found_in(databases.live) == []
    finally:
        await cluster.drop(dsn)


async def test_an_entry_that_is_rolled_back_waits_for_nothing(
    context: Context, live: Database
) -> None:
    async def fail(conn: Connection) -> None:
        await append_entries(conn, 2)
        raise LookupError

    with pytest.raises(LookupError):
        await live.transaction(fail)
    await write_entries(live)
    await audit_seals.seal(context)
    assert (await seals(live), await found_in(live)) == ([[3]], [])


async def test_two_sealers_at_once_make_one_seal(
    databases: TestDatabases, context: Context
) -> None:
    await check_a_race(databases, context)
    await audit_seals.seal(context)
    assert sorted(no for made in await seals(context.database) for no in made) == list(
        range(1, SEALERS * SEAL_ENTRIES_MAX + 1)
    )
    assert await found_in(context.database) == []


async def test_without_the_primary_key_the_same_race_forks_the_chain(
    databases: TestDatabases, context: Context
) -> None:
    """The negative control: it is the key that holds, not luck. Verifying names the fork."""
    await fetch(databases.live, "ALTER TABLE audit_seals DROP CONSTRAINT audit_seals_pkey")
    with pytest.raises(AssertionError):
        await check_a_race(databases, context)
    findings = await found_in(databases.live)
    assert [(one.where, one.found) for one in findings] == [("seal 1", f"there {SEALERS} times")]


async def check_a_race(databases: TestDatabases, context: Context) -> None:
    """Sealers who have all read the chain before one of them adds to it: one may."""
    await write_entries(databases.live, SEALERS * SEAL_ENTRIES_MAX)
    conn = await asyncpg.connect(databases.dsn, server_settings={"search_path": "abaxus_live"})
    try:
        async with conn.transaction():
            await conn.execute("LOCK TABLE audit_seals IN SHARE MODE")
            sealers = [asyncio.create_task(_outcome(context)) for _ in range(SEALERS)]
            await eventually(_all_wait, databases.test)
    finally:
        await conn.close()
    outcomes = await asyncio.gather(*sealers)
    assert sorted(outcomes) == [OVERTAKEN] * (SEALERS - 1) + ["sealed"]
    assert len(await seals(databases.live)) == 1
    assert len(await waiting(databases.live)) == (SEALERS - 1) * SEAL_ENTRIES_MAX


async def _outcome(context: Context) -> str:
    try:
        return "sealed" if await perform(context, SYSTEM, audit_seals.seal_next) else "idle"
    except repository.AnotherSealed:
        return OVERTAKEN


async def _all_wait(database: Database) -> bool:
    waits = await fetch(
        database,
        "SELECT 1 FROM pg_locks"
        " WHERE NOT granted AND relation = 'abaxus_live.audit_seals'::regclass",
    )
    return len(waits) == SEALERS


async def test_a_seal_reads_what_waits_and_not_the_log(context: Context, live: Database) -> None:
    """Though statistics of another hour call all of the log unsealed."""
    await write_entries(live, HISTORY)
    await fetch(live, "ANALYZE audit_log")
    await fetch(live, "ANALYZE audit_unsealed")
    await audit_seals.seal(context)
    await write_entries(live, 3)
    explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + sql.load("audit_seals")["take_unsealed"].text
    ((plan,),) = await fetch(live, explain, SEAL_ENTRIES_MAX)
    nodes = walk(msgspec.json.decode(str(plan))[0]["Plan"])
    read = {
        node["Alias"]: node["Actual Rows"] * node["Actual Loops"]
        for node in nodes
        if node.get("Relation Name") == "audit_log"
    }
    assert read != {}
    assert max(read.values()) <= 3, plan


@pytest.mark.parametrize("moment", ["taken", "sealed"])
async def test_a_sealer_that_dies_leaves_all_to_the_next(
    context: Context, live: Database, moment: str
) -> None:
    """Its connection is cut after it took the entries, or before it committed their seal."""

    async def take(work: Work) -> None:
        await repository.take_unsealed(work.conn, SEAL_ENTRIES_MAX)

    async def seal(work: Work) -> None:
        await audit_seals.seal_next(work)

    await write_entries(live, 3)
    steps: dict[str, Callable[[Work], Awaitable[None]]] = {"taken": take, "sealed": seal}

    async def die(work: Work) -> None:
        await steps[moment](work)
        await work.conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises((asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)):
        await perform(context, SYSTEM, die)
    assert (await waiting(live), await seals(live)) == ([1, 2, 3], [])
    await audit_seals.seal(context)
    assert (await waiting(live), await seals(live)) == ([], [[1, 2, 3]])
    assert await found_in(live) == []


async def test_a_number_without_an_entry_holds_nobody_up(context: Context, live: Database) -> None:
    await fetch(live, "INSERT INTO audit_unsealed SELECT generate_series(-2000, 0) RETURNING 1")
    await write_entries(live)
    await audit_seals.seal(context)
    assert await seals(live) == [[1]]
    assert len(await waiting(live)) == 2001


async def test_the_worker_seals_by_the_clock(context: Context, live: Database) -> None:
    await write_entries(live)
    stop = asyncio.Event()
    worker = QueueWorker(live, handlers.of(context), schedules=handlers.SCHEDULES, settings=QUICK)
    running = asyncio.create_task(worker.run(stop))

    async def is_sealed() -> bool:
        return await seals(live) == [[1]]

    await eventually(is_sealed)
    stop.set()
    await running


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_seals SET hash = previous_hash",
        "DELETE FROM audit_seals",
        "TRUNCATE audit_seals",
        "SET LOCAL session_replication_role = replica; DELETE FROM audit_seals",
    ],
)
async def test_seals_are_append_only(context: Context, live: Database, statement: str) -> None:
    await write_entries(live)
    await audit_seals.seal(context)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await live.transaction(lambda conn: conn.execute(statement))
