"""A bulk run that is cut off at any statement of its jobs goes on and bills each customer once."""

import os
from collections.abc import AsyncIterator, Mapping

import pytest

from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from tests.support.books import CALLS, PER_CALL, Books, keeping, make_unlucky, next_job
from tests.support.clock import FakeClock
from tests.support.metering import fetch
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.wire import Fault, FaultKind, Wire

CUSTOMERS = ("ann", "bob", "cyd")
ROUNDS_MAX = 300
# Every statement by `make soak`, else each fourth, by turns unsent and unheard.
STRIDE = 1 if "ABAXUS_TEST_HISTORIES" in os.environ else 4
FIRST: Mapping[FaultKind, int] = {"unsent": 0, "unheard": STRIDE // 2}
# Of one job, that has to take its chunk apart.
STATEMENTS_MIN = 30
EACH = """
    SELECT c.customer_id, count(*), sum(i.total_minor)::bigint
    FROM invoices AS i
    JOIN customers AS c ON c.customer_no = i.customer_no
    WHERE i.cutoff = (SELECT max(cutoff) FROM bulk_runs)
    GROUP BY c.customer_id
    ORDER BY c.customer_id
"""
TOTALS = """
    SELECT (SELECT count(*) FROM invoices), (SELECT max(number) FROM invoices),
        (SELECT count(*) FROM bulk_run_customers WHERE outcome = 'created'),
        (SELECT count(*) FROM audit_log WHERE action = 'invoice.issued')
"""
ENDED = """
    SELECT count(*) FROM bulk_runs AS r
    WHERE 1 <> (
        SELECT count(*) FROM audit_log
        WHERE action = 'bulk_run.completed' AND object_id = r.bulk_run_id
    )
"""


@pytest.fixture
def wire(databases: TestDatabases) -> Wire:
    return Wire(databases.dsn)


@pytest.fixture
async def books(wire: Wire, clock: FakeClock) -> AsyncIterator[Books]:
    async with (
        wire.open(),
        open_databases(wire.dsn, SETTINGS) as broken,
        keeping(TestDatabases(dsn=wire.dsn, open=broken), clock) as books,
    ):
        yield books


@pytest.mark.parametrize("kind", ["unsent", "unheard"])
async def test_a_run_that_is_cut_off_at_any_statement_goes_on(
    databases: TestDatabases, wire: Wire, books: Books, kind: FaultKind
) -> None:
    """Each round bills another minute, its jobs cut off one statement later."""
    await books.metric(**CALLS)
    await books.plan(PER_CALL)
    for customer_id in CUSTOMERS:
        await books.customer(customer_id)
        await books.subscribe(customer_id)
    await make_unlucky(books, "zed")
    for at in range(FIRST[kind], ROUNDS_MAX, STRIDE):
        cutoff = f"2026-04-20T{at // 60:02d}:{at % 60:02d}:00Z"
        await _use(books, at)
        job_id = await books.bulk(cutoff)
        before = wire.strikes
        await _run_jobs(wire, books, Fault(at=at, kind=kind))
        await _check_round(databases.live, books, job_id, rounds=at // STRIDE + 1)
        if wire.strikes == before:
            assert at > STATEMENTS_MIN
            return
    raise AssertionError("the jobs have more statements than rounds")


async def _use(books: Books, number: int) -> None:
    events = [
        {
            "customer_id": customer_id,
            "metric_key": "api_calls",
            "value": 100,
            "timestamp": "2026-04-10T00:00:00Z",
            "idempotency_key": f"{number}",
        }
        for customer_id in CUSTOMERS
    ]
    await books.post("/v1/events/backfill", 200, events=events)


async def _run_jobs(wire: Wire, books: Books, fault: Fault) -> None:
    """Each job breaks off once, if it has so many statements, and is run again where it raised."""
    while run := await next_job(books.context):
        try:
            with wire.faulty(fault):
                await run()
        except CONNECTION_FAULTS:
            await run()


async def _check_round(database: Database, books: Books, job_id: str, *, rounds: int) -> None:
    job = await books.get(f"/v1/jobs/{job_id}")
    everybody = len(CUSTOMERS) + 1
    assert (job["status"], job["progress"]) == (
        "completed",
        {"total": everybody, "done": everybody},
    )
    assert [one["customer_id"] for one in job["result"]["errors"]] == ["zed"]
    assert await fetch(database, EACH) == [(one, 1, 100) for one in CUSTOMERS]
    issued = rounds * len(CUSTOMERS)
    assert await fetch(database, TOTALS) == [(issued, issued, issued, issued)]
    assert await fetch(database, ENDED) == [(0,)]
