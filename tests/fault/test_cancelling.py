"""Cancelling against chunks that are under way: each is counted, or it never was."""

import asyncio

import pytest

from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.services import bulk_runs
from abaxus_core.services.jobs import InvoiceChunk
from tests.support.books import Answer, Books, make_crowd, working_on
from tests.support.collection import make_context
from tests.support.locks import COUNTER_HELD, are_waiting, holding
from tests.support.metering import fetch
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.waiting import eventually

CROWD = 60
CHUNK_SIZE = 2
CHUNK = 5
ROUNDS_MAX = CROWD
SUBSCRIPTIONS_HELD = "SELECT FROM subscriptions FOR UPDATE"


async def test_a_chunk_that_has_not_counted_yet_is_undone(
    durable_databases: TestDatabases, books: Books
) -> None:
    """It has read that the run is running, and would commit after the cancellation."""
    job_id, chunk = await _planned(books)
    async with holding(durable_databases.dsn, SUBSCRIPTIONS_HELD):
        settling = asyncio.create_task(
            bulk_runs.invoice_chunk(books.context, chunk, last_attempt=False)
        )
        await eventually(are_waiting, durable_databases.test, 1)
        job = await _cancel(books, job_id)
    await settling
    assert job["progress"] == {"total": CHUNK, "done": 0}
    assert await books.get(f"/v1/jobs/{job_id}") == job
    assert (await books.get("/v1/invoices"))["data"] == []
    await _check_counts(books.context.database)
    assert (await books.run_bulk())["result"]["invoices_created"] == CHUNK


async def test_a_chunk_that_has_counted_is_waited_for(
    durable_databases: TestDatabases, books: Books
) -> None:
    job_id, chunk = await _planned(books, beside=1)
    async with holding(durable_databases.dsn, COUNTER_HELD):
        settling = asyncio.create_task(
            bulk_runs.invoice_chunk(books.context, chunk, last_attempt=False)
        )
        await eventually(are_waiting, durable_databases.test, 1)
        cancelling = asyncio.create_task(_cancel(books, job_id))
        await eventually(are_waiting, durable_databases.test, 2)
    await settling
    job = await cancelling
    assert job["progress"] == {"total": CHUNK + 1, "done": CHUNK}
    assert await books.get(f"/v1/jobs/{job_id}") == job
    assert len((await books.get("/v1/invoices"))["data"]) == CHUNK
    await _check_counts(books.context.database)


async def test_a_last_chunk_that_has_counted_completes_the_run(
    durable_databases: TestDatabases, books: Books
) -> None:
    job_id, chunk = await _planned(books)
    async with holding(durable_databases.dsn, COUNTER_HELD):
        settling = asyncio.create_task(
            bulk_runs.invoice_chunk(books.context, chunk, last_attempt=False)
        )
        await eventually(are_waiting, durable_databases.test, 1)
        refused = asyncio.create_task(books.refused(f"/v1/jobs/{job_id}/cancel"))
        await eventually(are_waiting, durable_databases.test, 2)
    await settling
    assert await refused == (409, "INVALID_STATE", None)
    assert (await books.get(f"/v1/jobs/{job_id}"))["status"] == "completed"


async def test_runs_that_are_cancelled_while_two_workers_are_at_them(
    durable_databases: TestDatabases, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run after run is cancelled as soon as it has issued something, until nobody is left."""
    monkeypatch.setattr(bulk_runs, "CHUNK_SIZE", CHUNK_SIZE)
    await make_crowd(books, CROWD)
    answers: list[Answer] = []
    async with (
        open_databases(durable_databases.dsn, SETTINGS) as other,
        working_on(books.context),
        working_on(make_context(other.live, books.context.clock)),
    ):
        while len(answers) < ROUNDS_MAX and not (answers and answers[-1]["status"] == "completed"):
            job_id = await books.bulk()
            await eventually(_has_issued_or_ended, books, job_id)
            await books.client.post(f"/v1/jobs/{job_id}/cancel")
            answers.append(await books.get(f"/v1/jobs/{job_id}"))
    assert all(one["status"] == "cancelled" for one in answers[:-1])
    assert answers[-1]["status"] == "completed"
    for answer in answers:
        assert await books.get(f"/v1/jobs/{answer['id']}") == answer
    await _check_counts(books.context.database)
    assert sum(one["result"]["invoices_created"] for one in answers) == CROWD
    assert await fetch(
        books.context.database,
        "SELECT count(DISTINCT customer_no), count(*), min(number), max(number) FROM invoices",
    ) == [(CROWD, CROWD, 1, CROWD)]


async def _planned(books: Books, *, beside: int = 0) -> tuple[str, InvoiceChunk]:
    """A run of CHUNK customers and some beside them, planned, and the chunk of the former."""
    await make_crowd(books, CHUNK + beside)
    job_id = await books.bulk()
    await bulk_runs.plan(books.context, job_id)
    rows = await fetch(books.context.database, "SELECT customer_no FROM customers ORDER BY 1")
    customer_nos = tuple(int(str(no)) for (no,) in rows[:CHUNK])
    return job_id, InvoiceChunk(bulk_run_id=job_id, customer_nos=customer_nos)


async def _cancel(books: Books, job_id: str) -> Answer:
    return await books.post(f"/v1/jobs/{job_id}/cancel", 200)


async def _has_issued_or_ended(books: Books, job_id: str) -> bool:
    job = await books.get(f"/v1/jobs/{job_id}")
    return bool(job["result"]["invoices_created"]) or job["finished_at"] is not None


async def _check_counts(database: Database) -> None:
    """Whoever is settled is counted, and every invoice is of one who is settled."""
    counted = "SELECT bulk_run_id, created, skipped, failed FROM bulk_runs ORDER BY 1"
    settled = """
        SELECT r.bulk_run_id, count(*) FILTER (WHERE c.outcome = 'created'),
            count(*) FILTER (WHERE c.outcome = 'skipped'),
            count(*) FILTER (WHERE c.outcome = 'failed')
        FROM bulk_runs AS r
        LEFT JOIN bulk_run_customers AS c ON c.bulk_run_id = r.bulk_run_id
        GROUP BY r.bulk_run_id
        ORDER BY 1
    """
    assert await fetch(database, counted) == await fetch(database, settled)
    unsettled = """
        SELECT i.invoice_id FROM invoices AS i
        WHERE NOT EXISTS (SELECT FROM bulk_run_customers AS c WHERE c.invoice_id = i.invoice_id)
    """
    assert await fetch(database, unsettled) == []
