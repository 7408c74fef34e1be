"""Invoicing under fire: raced, run twice, killed. Usage is billed once, numbers have no gap."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import pytest

from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.kernel.queue import Job
from abaxus_core.services import bulk_runs
from abaxus_core.services.jobs import BULK_CHUNK, InvoiceChunk
from abaxus_core.worker import bulk
from tests.support.books import (
    CALLS,
    PER_CALL,
    Books,
    keeping,
    make_crowd,
    make_growth,
    run_jobs,
    working_on,
)
from tests.support.clock import FakeClock
from tests.support.collection import make_context
from tests.support.metering import fetch
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.waiting import eventually

CALLERS = 50
RACERS_MIN = 5
CROWD = 120
CHUNK_SIZE = 5
KILLS_MAX = 60
KILL_WITHIN_S = 0.4
LOOKS = 50
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
GUARDS = (
    "ALTER TABLE invoices DROP CONSTRAINT invoices_customer_sequence_once",
    "ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_billed_once",
)


@pytest.fixture
async def books(durable_databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Books]:
    async with keeping(durable_databases, clock) as books:
        yield books


async def test_fifty_callers_get_one_invoice(
    durable_databases: TestDatabases, books: Books
) -> None:
    answers = await _race(durable_databases, books)
    assert answers == Counter({"NOTHING_TO_INVOICE": CALLERS - 1, "created": 1})
    assert await _billed(books.context.database) == 15775
    assert await _numbers(books.context.database) == [1]


async def test_without_the_constraints_the_same_race_bills_twice(
    durable_databases: TestDatabases, books: Books
) -> None:
    """The negative control: it is they that hold, not luck."""
    async with books.context.database.connection() as conn:
        for statement in GUARDS:
            await conn.execute(statement)
    answers = await _race(durable_databases, books)
    assert answers["created"] > 1
    assert await _billed(books.context.database) != 15775


async def _race(databases: TestDatabases, books: Books) -> Counter[str]:
    """What CALLERS are answered who ask for one customer's invoice, several inside at once."""
    await make_growth(books)
    await books.use(1_374_923)
    async with _counter_held(databases.dsn):
        callers = [asyncio.create_task(_answer(books)) for _ in range(CALLERS)]
        await eventually(_waiting_for_locks, databases.test)
    return Counter(await asyncio.gather(*callers))


async def _answer(books: Books) -> str:
    body = {"customer_id": "acme", "cutoff_date": "2026-04-30"}
    response = await books.client.post("/v1/invoices", json=body)
    return "created" if response.status_code == 201 else response.json()["error"]["code"]


@asynccontextmanager
async def _counter_held(dsn: str) -> AsyncIterator[None]:
    """Nobody gets a number meanwhile, so whoever is on the way to one stays inside."""
    conn = await asyncpg.connect(dsn, server_settings={"search_path": "abaxus_live"})
    try:
        async with conn.transaction():
            await conn.execute("SELECT FROM counters WHERE name = 'invoice' FOR UPDATE")
            yield
    finally:
        await conn.close()


async def _waiting_for_locks(database: Database) -> bool:
    rows = await fetch(
        database,
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return len(rows) >= RACERS_MIN


async def test_a_bulk_run_beside_callers_bills_each_customer_once(books: Books) -> None:
    await make_crowd(books, CROWD)
    await books.bulk()

    async def one_by_one() -> Counter[str]:
        answers: Counter[str] = Counter()
        for number in range(CROWD):
            body = {"customer_id": f"c{number}", "cutoff_date": "2026-04-30"}
            response = await books.client.post("/v1/invoices", json=body)
            answers[response.json().get("error", {}).get("code", "created")] += 1
        return answers

    answers, _ = await asyncio.gather(one_by_one(), run_jobs(books.context))
    (job,) = (await books.get("/v1/jobs"))["data"]
    assert job["status"] == "completed"
    assert answers["created"] + job["result"]["invoices_created"] == CROWD
    assert job["result"]["invoices_failed"] == 0
    await _check_crowd(books.context.database)


async def test_a_chunk_that_two_workers_hold_has_one_effect(books: Books) -> None:
    await make_crowd(books, CHUNK_SIZE)
    job_id = await books.bulk()
    await bulk_runs.plan(books.context, job_id)
    rows = await fetch(books.context.database, "SELECT customer_no FROM customers")
    chunk = InvoiceChunk(bulk_run_id=job_id, customer_nos=tuple(int(str(no)) for (no,) in rows))
    await asyncio.gather(
        *(bulk_runs.invoice_chunk(books.context, chunk, last_attempt=False) for _ in range(4))
    )
    job = await books.get(f"/v1/jobs/{job_id}")
    assert (job["status"], job["result"]["invoices_created"]) == ("completed", CHUNK_SIZE)
    await _check_crowd(books.context.database, CHUNK_SIZE)


async def test_a_worker_is_at_no_more_chunks_than_it_may(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNKS_AT_ONCE", 1)
    database = books.context.database
    await make_crowd(books, CHUNK_SIZE)
    job_id = await books.bulk()
    await bulk_runs.plan(books.context, job_id)
    (run_chunk,) = (one.run for one in bulk.handlers(books.context) if one.kind == BULK_CHUNK)

    async def some_wait() -> bool:
        return await _waiting(database) > 0

    async with asyncio.TaskGroup() as chunks, database.connection() as conn, conn.transaction():
        await conn.execute("SELECT FROM counters FOR UPDATE")
        for (customer_no,) in await conn.fetch("SELECT customer_no FROM customers"):
            chunk = InvoiceChunk(bulk_run_id=job_id, customer_nos=(customer_no,))
            job = Job(job_id=customer_no, attempt=1, attempts_max=20, payload=chunk)
            chunks.create_task(run_chunk(job))
        await eventually(some_wait)
        looks = [await _waiting(database) for _ in range(LOOKS)]
    assert set(looks) == {1}
    await _check_crowd(database, CHUNK_SIZE)


async def _waiting(database: Database) -> int:
    ((count,),) = await fetch(database, WAITING)
    return int(str(count))


async def test_two_workers_share_a_run(
    durable_databases: TestDatabases, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_runs, "CHUNK_SIZE", CHUNK_SIZE)
    await make_crowd(books, CROWD)
    job_id = await books.bulk()
    async with (
        open_databases(durable_databases.dsn, SETTINGS) as other,
        working_on(books.context),
        working_on(make_context(other.live, books.context.clock)),
    ):
        await eventually(_is_completed, books, job_id)
    await _check_run(books, job_id)


async def test_killed_workers_leave_nothing_twice_and_no_gap(
    durable_databases: TestDatabases, books: Books
) -> None:
    await make_crowd(books, CROWD)
    job_id = await books.bulk()
    shuffler = random.Random(7)
    kills = 0
    while kills < KILLS_MAX and not await _is_completed(books, job_id):
        with _worker(durable_databases.dsn):
            await asyncio.sleep(shuffler.uniform(0, KILL_WITHIN_S))
        kills += 1
    with _worker(durable_databases.dsn):
        await eventually(_is_completed, books, job_id)
    assert kills > 1
    await _check_run(books, job_id)


async def test_usage_that_lands_while_invoices_are_made_is_billed_once(books: Books) -> None:
    await books.metric(**CALLS)
    await books.plan(PER_CALL)
    await books.customer()
    await books.subscribe()

    async def use() -> None:
        for number in range(40):
            await books.use(100, f"2026-04-{1 + number % 30:02d}T00:00:00Z")

    async def invoice() -> None:
        while not using.done():
            await _answer(books)
            await asyncio.sleep(0)

    using = asyncio.create_task(use())
    await asyncio.gather(using, invoice(), invoice())
    await _answer(books)
    assert await _billed(books.context.database) == 40 * 100
    numbers = await _numbers(books.context.database)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 1


@contextmanager
def _worker(dsn: str) -> Iterator[None]:
    """A process that works on bulk runs and has begun; killed on the way out."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.bulk_process", dsn, str(CHUNK_SIZE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def _is_completed(books: Books, job_id: str) -> bool:
    return bool((await books.get(f"/v1/jobs/{job_id}"))["status"] == "completed")


async def _check_run(books: Books, job_id: str) -> None:
    job = await books.get(f"/v1/jobs/{job_id}")
    assert job["progress"] == {"total": CROWD, "done": CROWD}
    assert job["result"]["invoices_created"] == CROWD
    completed = "SELECT count(*) FROM audit_log WHERE action = 'bulk_run.completed'"
    assert await fetch(books.context.database, completed) == [(1,)]
    await _check_crowd(books.context.database)


async def _check_crowd(database: Database, count: int = CROWD) -> None:
    """Every customer has the one golden invoice, and the numbers are 1 to `count`."""
    assert await _numbers(database) == list(range(1, count + 1))
    assert await fetch(
        database,
        "SELECT count(DISTINCT customer_no), min(total_minor), max(total_minor) FROM invoices",
    ) == [(count, 15775, 15775)]
    assert await _billed(database) == count * 15775
    assert await fetch(database, "SELECT value FROM counters") == [(count,)]
    issued = "SELECT count(*) FROM audit_log WHERE action = 'invoice.issued'"
    assert await fetch(database, issued) == [(count,)]


async def _billed(database: Database) -> object:
    ((billed,),) = await fetch(database, "SELECT sum(amount_minor) FROM invoice_lines")
    return billed


async def _numbers(database: Database) -> list[object]:
    rows = await fetch(database, "SELECT number FROM invoices ORDER BY number NULLS FIRST")
    return [number for (number,) in rows]
