"""The queue on a real PostgreSQL: what is enqueued, in which order it runs, and when again."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from abaxus_core.kernel.database import Connection, Database
from abaxus_core.kernel.queue import (
    Discard,
    Job,
    Schedule,
    Snooze,
    cancel,
    depth,
    enqueue,
    enqueue_many,
)
from abaxus_core.kernel.queue_claims import PRIORITIES, RESUMED_MAX, Claim, Claims
from abaxus_core.kernel.queue_upkeep import FINISHED_KEPT
from abaxus_core.kernel.queue_worker import WorkerSettings
from abaxus_core.kernel.sql import load
from tests.support.clock import FakeClock
from tests.support.jobs import BULK, KIND, QUICK, URGENT, Note, add, jobs, no_jobs, working
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually, soon

ONE_AT_A_TIME = WorkerSettings(concurrency=1, poll=QUICK.poll, upkeep=QUICK.upkeep)
AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
KIND_DECODER = msgspec.json.Decoder(Note)
FRONT = ([datetime.min.replace(tzinfo=UTC)] * len(PRIORITIES), [0] * len(PRIORITIES))


class Recorder:
    """A handler that remembers what it was given, and raises what it is told to."""

    def __init__(self, *faults: Exception) -> None:
        self.seen: list[Job[Note]] = []
        self.faults = list(faults)

    async def __call__(self, job: Job[Note]) -> None:
        self.seen.append(job)
        if self.faults:
            raise self.faults.pop(0)

    @property
    def numbers(self) -> list[int]:
        return [job.payload.number for job in self.seen]

    async def has_seen(self, count: int) -> bool:
        return len(self.seen) >= count


async def test_jobs_run_once_in_order_and_are_gone(live: Database) -> None:
    recorder = Recorder()
    await add(live, 100)
    async with working(live, recorder, settings=ONE_AT_A_TIME):
        await eventually(no_jobs, live)
    assert recorder.numbers == list(range(100))
    assert {job.attempt for job in recorder.seen} == {1}


async def test_worker_is_woken_by_the_commit(live: Database) -> None:
    recorder = Recorder()
    patient = WorkerSettings(poll=timedelta(minutes=1), upkeep=timedelta(minutes=1))
    async with working(live, recorder, settings=patient):
        await eventually(_is_listening, live)
        await add(live, 3)
        await eventually(recorder.has_seen, 3)


async def _is_listening(live: Database) -> bool:
    return live.listener.connected(live.channel("jobs"))


async def test_rolled_back_job_never_runs(live: Database) -> None:
    async def fail(conn: Connection) -> None:
        await enqueue(conn, KIND, Note(1))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await live.transaction(fail)
    assert await jobs(live) == []


async def test_test_mode_has_a_queue_of_its_own(databases: TestDatabases) -> None:
    await add(databases.live, 1)
    assert await jobs(databases.test) == []


async def test_more_urgent_jobs_go_first_whatever_was_enqueued_first(live: Database) -> None:
    order: list[str] = []

    async def run(job: Job[Note]) -> None:
        row = next(row for row in await jobs(live) if row["job_id"] == job.job_id)
        order.append(row["kind"])

    for kind in (BULK, KIND, URGENT):
        await add(live, 2, kind=kind)
    async with working(live, run, settings=ONE_AT_A_TIME, kinds=(KIND, URGENT, BULK)):
        await eventually(no_jobs, live)
    assert order == [URGENT.name] * 2 + [KIND.name] * 2 + [BULK.name] * 2


async def test_unique_key_keeps_a_second_job_out_until_the_first_is_gone(live: Database) -> None:
    async def add_unique(conn: Connection) -> bool:
        return await enqueue(conn, KIND, Note(1), unique_key="one")

    assert await live.transaction(add_unique)
    assert not await live.transaction(add_unique)
    async with working(live, Recorder()):
        await eventually(no_jobs, live)
    assert await live.transaction(add_unique)


async def test_batch_counts_what_its_unique_keys_let_in(live: Database) -> None:
    keys = ["a", "b", "a", None]
    notes = [Note(number) for number in range(4)]
    added = await live.transaction(lambda conn: enqueue_many(conn, KIND, notes, unique_keys=keys))
    assert added == 3
    assert [row["unique_key"] for row in await jobs(live)] == ["a", "b", None]


async def test_cancelled_job_never_runs_and_frees_its_key(live: Database) -> None:
    async def add_unique(conn: Connection) -> bool:
        return await enqueue(conn, KIND, Note(1), unique_key="one")

    async def cancel_it(conn: Connection) -> bool:
        return await cancel(conn, unique_key="one")

    await live.transaction(add_unique)
    assert await live.transaction(cancel_it)
    assert not await live.transaction(cancel_it)
    assert await live.transaction(add_unique)
    async with working(live, Recorder()):
        await eventually(_states, live, ["cancelled"])


async def _states(database: Database, states: list[str]) -> bool:
    return [row["state"] for row in await jobs(database)] == states


async def test_failure_is_tried_again_later_and_later(live: Database) -> None:
    clock = FakeClock(AHEAD)
    recorder = Recorder(ValueError("first"), ValueError("second"))
    await add(live)
    async with working(live, recorder, clock=clock):
        for attempt, middle in ((1, timedelta(seconds=1)), (2, timedelta(seconds=2))):
            await eventually(_waits_after, live, attempt)
            (row,) = await jobs(live)
            delay = row["due_at"] - clock()
            assert middle * 3 / 4 <= delay <= middle * 5 / 4
            assert "ValueError" in row["last_error"]
            assert len(recorder.seen) == attempt
            clock.advance(delay)
        await eventually(no_jobs, live)
    assert [job.attempt for job in recorder.seen] == [1, 2, 3]
    assert [job.last_attempt for job in recorder.seen] == [False, False, True]


async def _waits_after(database: Database, attempt: int) -> bool:
    (row,) = await jobs(database)
    return bool(row["state"] == "available" and row["attempt"] == attempt)


async def test_job_is_not_run_before_it_is_due(live: Database) -> None:
    clock, recorder = FakeClock(AHEAD), Recorder()
    await add(live, due_at=AHEAD + timedelta(hours=1))
    await add(live, 1)
    async with working(live, recorder, clock=clock):
        await eventually(recorder.has_seen, 1)
        assert len(await jobs(live)) <= 2
        clock.advance(timedelta(minutes=59))
        live.wake("jobs")
        await eventually(_states, live, ["available"])
        assert len(recorder.seen) == 1
        clock.advance(timedelta(minutes=1))
        await eventually(no_jobs, live)
    assert len(recorder.seen) == 2


async def test_attempts_are_bounded_and_the_last_error_is_kept(live: Database) -> None:
    clock = FakeClock(AHEAD)
    recorder = Recorder(*(ValueError(f"fault {number}") for number in range(1, 9)))
    await add(live)
    async with working(live, recorder, clock=clock):
        for attempt in (1, 2):
            await eventually(_waits_after, live, attempt)
            clock.advance(timedelta(minutes=1))
        await eventually(_states, live, ["discarded"])
    (row,) = await jobs(live)
    assert "fault 3" in row["last_error"]
    assert row["finished_at"] is not None
    assert len(recorder.seen) == KIND.attempts_max


async def test_handler_may_discard_at_once(live: Database) -> None:
    await add(live)
    async with working(live, Recorder(Discard("the invoice is gone"))):
        await eventually(_states, live, ["discarded"])
    (row,) = await jobs(live)
    assert "the invoice is gone" in row["last_error"]
    assert row["attempt"] == 1


async def test_snooze_spends_no_attempt(live: Database) -> None:
    clock = FakeClock(AHEAD)
    recorder = Recorder(Snooze(60), Snooze(60), Snooze(60), Snooze(60))
    await add(live)
    async with working(live, recorder, clock=clock):
        for seen in (1, 2, 3, 4):
            await eventually(recorder.has_seen, seen)
            await eventually(_waits_after, live, 0)
            (row,) = await jobs(live)
            assert row["due_at"] == clock() + timedelta(seconds=60)
            clock.advance(timedelta(seconds=60))
        await eventually(no_jobs, live)
    assert {job.attempt for job in recorder.seen} == {1}


async def test_payload_that_does_not_decode_fails_like_any_fault(live: Database) -> None:
    async with live.connection() as conn:
        await enqueue(conn, KIND, Note(1))
        await conn.execute('UPDATE jobs SET payload = \'{"number": "many"}\'')
    recorder = Recorder()
    async with working(live, recorder, clock=FakeClock(AHEAD)):
        await eventually(_waits_after, live, 1)
    (row,) = await jobs(live)
    assert "ValidationError" in row["last_error"]
    assert recorder.seen == []


async def test_kind_without_a_handler_is_left_to_a_newer_worker(live: Database) -> None:
    await add(live, kind=BULK)
    await add(live)
    async with working(live, Recorder()):
        await eventually(_states, live, ["available"])
    (row,) = await jobs(live)
    assert row["kind"] == BULK.name


async def test_no_more_handlers_at_once_than_allowed(live: Database) -> None:
    at_once: list[int] = []
    running = 0

    async def run(_job: Job[Note]) -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0)
        running -= 1

    await add(live, 200)
    async with working(live, run, settings=QUICK):
        await eventually(no_jobs, live)
    assert max(at_once) == QUICK.concurrency


async def test_slow_jobs_are_not_hoarded(live: Database) -> None:
    begun = asyncio.Event()

    async def run(_job: Job[Note]) -> None:
        begun.set()
        await asyncio.Event().wait()

    await add(live, 50)
    hasty = WorkerSettings(concurrency=4, drain=timedelta(0))
    async with working(live, run, settings=hasty):
        await soon(begun)
        states = [row["state"] for row in await jobs(live)]
        assert states.count("running") == 4


async def test_schedule_runs_once_a_tick_however_many_workers(live: Database) -> None:
    clock, recorder = FakeClock(AHEAD), Recorder()
    schedule = Schedule(name="sweep", every=timedelta(hours=1), kind=KIND, payload=Note(7))
    async with (
        working(live, recorder, schedules=[schedule], clock=clock),
        working(live, recorder, schedules=[schedule], clock=clock),
        working(live, recorder, schedules=[schedule], clock=clock),
    ):
        for tick in range(1, 6):
            await eventually(recorder.has_seen, tick)
            await eventually(no_jobs, live)
            clock.advance(timedelta(minutes=59))
            live.wake("jobs")
            await asyncio.sleep(0.1)
            assert len(recorder.seen) == tick
            clock.advance(timedelta(minutes=1))
        await eventually(recorder.has_seen, 6)
    assert recorder.numbers == [7] * 6


async def test_finished_jobs_are_purged_after_a_while(live: Database) -> None:
    clock = FakeClock(AHEAD)
    await add(live)
    async with working(live, Recorder(Discard("no")), clock=clock):
        await eventually(_states, live, ["discarded"])
        clock.advance(FINISHED_KEPT)
        await eventually(_states, live, ["discarded"])
        clock.advance(timedelta(seconds=1))
        await eventually(no_jobs, live)


async def test_depth_counts_by_kind_and_state(live: Database) -> None:
    await add(live, 3)
    await add(live, 2, kind=BULK)
    async with live.connection() as conn:
        found = {(one.kind, one.state): one.jobs for one in await depth(conn)}
    assert found == {(KIND.name, "available"): 3, (BULK.name, "available"): 2}


async def test_claim_walks_its_index_past_a_crowd_of_future_jobs(live: Database) -> None:
    """20,000 urgent jobs of the future stand before the one that is due, and are not touched."""
    claim = load("queue")["settle_and_claim"]
    args = ([], [], PRIORITIES, ["note"], 100, uuid4(), timedelta(seconds=30), None, *FRONT)
    async with live.connection() as conn:
        await conn.execute(
            """
            INSERT INTO jobs (kind, payload, priority, due_at, attempts_max)
            SELECT 'note', '{"number": 1}', 10, now() + interval '1 day', 3
            FROM generate_series(1, 20000)
            """
        )
        await enqueue(conn, KIND, Note(1))
        await conn.execute("ANALYZE jobs")
        plan = await conn.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {claim.text}", *args)
    text = "\n".join(row[0] for row in plan)
    assert "jobs_claimable" in text
    assert "Seq Scan" not in text
    assert all(int(rows) <= 10 for rows in re.findall(r"Rows Removed by Filter: (\d+)", text))
    assert all(int(pages) < 200 for pages in re.findall(r"shared hit=(\d+)", text)), text


async def test_claim_goes_on_where_the_last_one_ended(live: Database) -> None:
    """An old snapshot keeps 10,000 claimed rows; whoever begins at the front reads them again."""
    await add(live, 10_200)
    claims = Claims(live, ["note"], lease=timedelta(minutes=5), clock=None)
    async with live.connection() as reader, reader.transaction(isolation="repeatable_read"):
        await reader.fetch("SELECT 1 FROM jobs LIMIT 1")
        claimed = [claim for _ in range(10) for claim in await claims.settle_and_claim((), 1_000)]
        last = max(claimed, key=lambda claim: claim.job_id)
        after = (last.record["due_at"], last.job_id)
        resumed = await pages_read(live, ([after[0]] * 3, [after[1]] * 3))
        assert resumed * 5 < await pages_read(live, FRONT)


async def pages_read(live: Database, places: tuple[list[datetime], list[int]]) -> int:
    """How many pages a claim that begins at these places walks through."""
    claim = load("queue")["settle_and_claim"]
    args = ([], [], PRIORITIES, ["note"], 100, uuid4(), timedelta(seconds=30), None, *places)
    async with live.connection() as conn:
        plan = await conn.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {claim.text}", *args)
    _, walk = "\n".join(row[0] for row in plan).split("using jobs_claimable")
    return int(re.findall(r"shared hit=(\d+)", walk)[0])


async def test_job_that_falls_due_behind_the_last_claim_is_claimed_before_long(
    live: Database,
) -> None:
    """It was committed late: its due time lies before those of jobs that have been claimed."""
    await add(live, 3_000)
    claims = Claims(live, ["note"], lease=timedelta(minutes=5), clock=None)
    await claims.settle_and_claim((), 100)
    early = datetime(2020, 1, 1, tzinfo=UTC)
    async with live.connection() as conn:
        await enqueue(conn, KIND, Note(-1), due_at=early)
    claimed: list[Claim] = []
    for _ in range(RESUMED_MAX + 1):
        claimed += await claims.settle_and_claim((), 100)
    numbers = [KIND_DECODER.decode(claim.record["payload"]).number for claim in claimed]
    assert numbers.count(-1) == 1
    assert len(numbers) == len(set(numbers)) == 100 * (RESUMED_MAX + 1)


async def test_job_behind_the_last_claim_is_claimed_at_once_when_there_is_no_other(
    live: Database,
) -> None:
    await add(live, 10)
    claims = Claims(live, ["note"], lease=timedelta(minutes=5), clock=None)
    assert len(await claims.settle_and_claim((), 10)) == 10
    async with live.connection() as conn:
        await enqueue(conn, KIND, Note(-1), due_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert len(await claims.settle_and_claim((), 10)) == 1


class CutBetween(Claims):
    """Its connection is lost before the second look of a claim."""

    async def _settle_and_claim(self, done: Sequence[Claim], claim_max: int) -> list[Claim]:
        if claim_max == 1:
            raise ConnectionResetError
        return await super()._settle_and_claim(done, claim_max)


async def test_what_was_leased_runs_though_the_second_look_is_cut_off(live: Database) -> None:
    await add(live, 19)
    claims = CutBetween(live, ["note"], lease=timedelta(minutes=5), clock=None)
    assert len(await claims.settle_and_claim((), 10)) == 10
    assert len(await claims.settle_and_claim((), 10)) == 9


async def test_settling_reads_its_own_jobs_and_not_the_backlog(live: Database) -> None:
    """Twenty of ten thousand are completed, and the planner knows nothing of the table.

    Of a tenth of a small table, PostgreSQL 15 rightly reads the whole.
    """
    claim = load("queue")["settle_and_claim"]
    lease = uuid4()
    args = (PRIORITIES, ["note"], 20, lease, timedelta(seconds=30), None, *FRONT)
    await add(live, 10_000)
    async with live.connection() as conn:
        held = [row["job_id"] for row in await conn.fetch(claim.text, [], [], *args)]
        plan = await conn.fetch(
            f"EXPLAIN (ANALYZE) {claim.text}", sorted(held), [lease] * len(held), *args
        )
        left = await conn.fetchval("SELECT count(*) FROM jobs WHERE job_id = ANY ($1)", held)
    assert "Seq Scan" not in "\n".join(row[0] for row in plan)
    assert left == 0
