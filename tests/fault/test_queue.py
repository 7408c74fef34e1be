"""Workers that die, stall, lose their database or are told to stop: each job has one outcome."""

import asyncio
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.kernel.queue import Job, JobKind
from abaxus_core.kernel.queue_claims import Claims
from abaxus_core.kernel.queue_upkeep import keep_up
from tests.support.clock import FakeClock
from tests.support.jobs import FAULTY, KIND, QUICK, Note, add, jobs, no_jobs, working
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.waiting import eventually, soon

ROOT = Path(__file__).resolve().parents[2]
AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=30)
PATIENT = msgspec.structs.replace(FAULTY, lease=timedelta(seconds=2))
EFFECTS = "CREATE TABLE effects (job_id bigint, attempt integer, pid integer)"


@pytest.fixture
async def live(durable_databases: TestDatabases) -> Database:
    """Live mode of a fresh database on the server that keeps its promises."""
    async with durable_databases.live.connection() as conn:
        await conn.execute(EFFECTS)
    return durable_databases.live


@asynccontextmanager
async def worker_process(dsn: str, *, lease_ms: int) -> AsyncIterator[Process]:
    command = ["-m", "tests.support.queue_process", dsn, str(lease_ms)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def effects(live: Database) -> list[dict[str, Any]]:
    async with live.connection() as conn:
        return [dict(row) for row in await conn.fetch("SELECT * FROM effects ORDER BY attempt")]


async def effects_are(live: Database, count: int) -> bool:
    return len(await effects(live)) == count


async def test_job_of_a_killed_worker_is_taken_over_by_one_other(
    live: Database, durable_databases: TestDatabases
) -> None:
    async with live.connection() as conn:
        await conn.execute(
            "INSERT INTO jobs (kind, payload, priority, due_at, attempts_max)"
            " VALUES ('note', '{\"number\": -1}', 100, now(), 3)"
        )
    dsn = durable_databases.dsn
    async with worker_process(dsn, lease_ms=600) as first:
        await eventually(effects_are, live, 1)
        first.kill()
        await first.wait()
        async with (
            worker_process(dsn, lease_ms=30_000) as second,
            worker_process(dsn, lease_ms=30_000) as third,
        ):
            await eventually(effects_are, live, 2)
            before, after = await effects(live)
            assert before["pid"] == first.pid
            assert after["pid"] in (second.pid, third.pid)
            assert (before["attempt"], after["attempt"]) == (1, 2)
            (row,) = await jobs(live)
            assert row["state"] == "running"
            assert "lost" in row["last_error"]


async def test_many_workers_run_each_job_once(
    live: Database, durable_databases: TestDatabases
) -> None:
    await add(live, 2_000)
    dsn = durable_databases.dsn
    async with (
        worker_process(dsn, lease_ms=30_000),
        worker_process(dsn, lease_ms=30_000),
        worker_process(dsn, lease_ms=30_000),
    ):
        await eventually(no_jobs, live)
    ran = Counter(effect["job_id"] for effect in await effects(live))
    assert len(ran) == 2_000
    assert set(ran.values()) == {1}


async def test_job_that_kills_every_worker_ends_too(live: Database) -> None:
    clock = FakeClock(AHEAD)
    claims = Claims(live, [KIND.name], lease=LEASE, clock=clock)
    await add(live)
    for _ in range(KIND.attempts_max):
        assert len(await claims.settle_and_claim([], 1)) == 1
        clock.advance(LEASE + timedelta(seconds=1))
        async with live.connection() as conn:
            await keep_up(conn, (), clock)
    (row,) = await jobs(live)
    assert row["state"] == "discarded"
    assert row["attempt"] == KIND.attempts_max


async def test_worker_whose_lease_was_taken_over_settles_nothing(live: Database) -> None:
    clock = FakeClock(AHEAD)
    stale = Claims(live, [KIND.name], lease=LEASE, clock=clock)
    fresh = Claims(live, [KIND.name], lease=LEASE, clock=clock)
    await add(live)
    (lost,) = await stale.settle_and_claim([], 10)
    clock.advance(LEASE + timedelta(seconds=1))
    async with live.connection() as conn:
        assert await keep_up(conn, (), clock) == 1
    (held,) = await fresh.settle_and_claim([], 10)
    before = await jobs(live)

    assert await stale.renew([lost]) == [lost]
    await stale.discard(lost, "stale")
    await stale.give_back(lost, delay=timedelta(), error="stale", attempt_spent=True)
    await stale.settle([lost])
    assert await stale.settle_and_claim([lost], 10) == []
    assert await jobs(live) == before

    assert await fresh.renew([held]) == []
    await fresh.settle([held])
    assert await jobs(live) == []


async def test_lease_is_renewed_for_as_long_as_the_handler_runs(live: Database) -> None:
    runs: list[int] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def run(job: Job[Note]) -> None:
        runs.append(job.attempt)
        begun.set()
        await soon(go_on)

    await add(live)
    async with (
        working(live, run, settings=PATIENT),
        working(live, run, settings=PATIENT),
    ):
        await soon(begun)
        (first,) = await jobs(live)
        await eventually(leased_beyond, live, first["leased_until"] + PATIENT.lease / 2)
        go_on.set()
        await eventually(no_jobs, live)
    assert runs == [1]


async def leased_beyond(live: Database, instant: datetime) -> bool:
    return all(row["leased_until"] > instant for row in await jobs(live))


async def test_handler_whose_lease_is_lost_is_interrupted(live: Database) -> None:
    begun, interrupted = asyncio.Event(), asyncio.Event()

    async def run(_job: Job[Note]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            interrupted.set()

    await add(live)
    async with working(live, run, settings=FAULTY):
        await soon(begun)
        async with live.connection() as conn:
            await conn.execute(
                "UPDATE jobs SET lease_id = gen_random_uuid(), leased_until = now() + interval '1h'"
            )
        await soon(interrupted)
    (row,) = await jobs(live)
    assert row["state"] == "running"


async def test_handler_that_takes_too_long_is_interrupted_and_tried_again(live: Database) -> None:
    hasty = JobKind(name="hasty", payload=Note, timeout=timedelta(milliseconds=1))
    begun = asyncio.Event()

    async def run(_job: Job[Note]) -> None:
        begun.set()
        await asyncio.Event().wait()

    await add(live, kind=hasty)
    async with working(live, run, settings=PATIENT, kinds=[hasty]):
        await soon(begun)
        await eventually(has_failed_once, live)
    (row,) = await jobs(live)
    assert "longer than" in row["last_error"]


async def has_failed_once(live: Database) -> bool:
    return all((row["state"], row["attempt"]) == ("available", 1) for row in await jobs(live))


async def test_stop_lets_running_jobs_finish_and_gives_back_the_rest(live: Database) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    finished: list[int] = []

    async def run(job: Job[Note]) -> None:
        begun.set()
        await soon(go_on)
        finished.append(job.payload.number)

    await add(live, 20)
    async with working(live, run, settings=QUICK):
        await soon(begun)
        asyncio.get_running_loop().call_later(0.1, go_on.set)
    assert sorted(finished) == list(range(QUICK.concurrency))
    left = await jobs(live)
    assert len(left) == 20 - QUICK.concurrency
    assert {(row["state"], row["attempt"]) for row in left} == {("available", 0)}


async def test_stop_cuts_short_what_does_not_finish_and_gives_it_back_unspent(
    live: Database,
) -> None:
    begun, cut_short = asyncio.Event(), asyncio.Event()

    async def run(_job: Job[Note]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut_short.set()

    await add(live)
    async with working(live, run, settings=FAULTY):
        await soon(begun)
    assert cut_short.is_set()
    (row,) = await jobs(live)
    assert (row["state"], row["attempt"], row["last_error"]) == ("available", 0, None)


async def test_worker_outlives_the_loss_of_its_connections(
    live: Database, durable_databases: TestDatabases
) -> None:
    ran: list[int] = []

    async def run(job: Job[Note]) -> None:
        ran.append(job.payload.number)

    async with (
        open_databases(durable_databases.dsn, SETTINGS) as elsewhere,
        working(elsewhere.live, run, settings=QUICK),
    ):
        for round_ in range(3):
            await add(live, 50)
            await eventually(no_jobs, live)
            await cut_others(live)
            assert len(ran) >= 50 * (round_ + 1)
    assert Counter(ran) == dict.fromkeys(range(50), 3)


async def cut_others(live: Database) -> None:
    async with live.connection() as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_completion_that_the_database_missed_is_handed_in_again(
    live: Database, durable_databases: TestDatabases
) -> None:
    """Every connection is cut while 200 jobs run: none is lost, and each row goes away."""
    ran: Counter[int] = Counter()

    async def run(job: Job[Note]) -> None:
        ran[job.payload.number] += 1
        await asyncio.sleep(0.005)

    tireless = JobKind(name="tireless", payload=Note, attempts_max=100)
    await add(live, 200, kind=tireless)
    async with (
        open_databases(durable_databases.dsn, SETTINGS) as elsewhere,
        working(elsewhere.live, run, settings=FAULTY, kinds=[tireless]),
    ):
        while not await no_jobs(live):
            await cut_others(live)
            await asyncio.sleep(0.05)
            if len(ran) > 150:
                break
        await eventually(no_jobs, live)
    assert set(ran) == set(range(200))
