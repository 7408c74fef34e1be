"""Invoicing under fire: raced, run twice, killed. Usage is billed once, numbers have no gap."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.kernel.queue import Job
from abaxus_core.services import bulk_runs
from abaxus_core.services.jobs import BULK_CHUNK, InvoiceChunk
from abaxus_core.worker import bulk
from tests.support.books import (
    Books,
    make_crowd,
    make_unlucky,
    run_jobs,
    working_on,
)
from tests.support.collection import make_context
from tests.support.metering import fetch
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.races import billed, numbers
from tests.support.waiting import eventually

CROWD = 120
CHUNK_SIZE = 5
KILLS_MAX = 20
KILL_WITHIN_S = 0.4
LOOKS = 50
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
SEED = 7
UNLUCKY = ("unlucky", "unluckier")


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
    """Nor does who cannot be invoiced stop them, or is listed twice."""
    await make_crowd(books, CROWD)
    await make_unlucky(books, *UNLUCKY)
    job_id = await books.bulk()
    shuffler = random.Random(SEED)
    kills = 0
    while kills < KILLS_MAX and not await _is_completed(books, job_id):
        with _worker(durable_databases.dsn):
            await asyncio.sleep(shuffler.uniform(0, KILL_WITHIN_S))
        kills += 1
    with _worker(durable_databases.dsn):
        await eventually(_is_completed, books, job_id)
    assert kills > 1
    await _check_run(books, job_id, unlucky=UNLUCKY)


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


async def _check_run(books: Books, job_id: str, *, unlucky: Sequence[str] = ()) -> None:
    job = await books.get(f"/v1/jobs/{job_id}")
    everybody = CROWD + len(unlucky)
    assert job["progress"] == {"total": everybody, "done": everybody}
    assert job["result"]["invoices_created"] == CROWD
    assert [one["customer_id"] for one in job["result"]["errors"]] == list(unlucky)
    completed = "SELECT count(*) FROM audit_log WHERE action = 'bulk_run.completed'"
    assert await fetch(books.context.database, completed) == [(1,)]
    await _check_crowd(books.context.database)


async def _check_crowd(database: Database, count: int = CROWD) -> None:
    """Every customer has the one golden invoice, and the numbers are 1 to `count`."""
    assert await numbers(database) == list(range(1, count + 1))
    assert await fetch(
        database,
        "SELECT count(DISTINCT customer_no), min(total_minor), max(total_minor) FROM invoices",
    ) == [(count, 15775, 15775)]
    assert await billed(database) == count * 15775
    assert await fetch(database, "SELECT value FROM counters") == [(count,)]
    issued = "SELECT count(*) FROM audit_log WHERE action = 'invoice.issued'"
    assert await fetch(database, issued) == [(count,)]
