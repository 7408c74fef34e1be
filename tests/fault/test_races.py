"""Races for one effect, and the same races without what guards it: then they must be lost.

Barriers make rivals meet, not luck: a lock is held until they are where they have to be.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from typing import TypeAlias

import pytest

from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import billing
from abaxus_core.repositories.billing import Mark
from abaxus_core.services import bulk_runs
from abaxus_core.services.jobs import InvoiceChunk
from tests.support.books import CALLS, PER_CALL, Books, make_growth
from tests.support.clock import FakeClock
from tests.support.locks import COUNTER_HELD, are_waiting, holding
from tests.support.metering import fetch
from tests.support.postgres import TestDatabases
from tests.support.races import ask_for_invoice, billed, make_calls, numbers
from tests.support.waiting import eventually

CALLERS = 50
RACERS_MIN = 5
CHUNK = 5
FEE = {"pricing_model": "flat_fee", "metric_key": None, "amount": "49.00"}
NEVER_TWICE = (
    "ALTER TABLE invoices DROP CONSTRAINT invoices_customer_sequence_once",
    "ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_billed_once",
)
SETTLED_ONCE = "ALTER TABLE bulk_run_customers DROP CONSTRAINT bulk_run_customers_pkey"
NOBODY_ISSUES = "LOCK TABLE invoices IN SHARE MODE"
NOBODY_ENDS_A_CHUNK = "SELECT FROM bulk_runs FOR UPDATE"

Marking: TypeAlias = Callable[..., Awaitable[bool]]


async def test_fifty_callers_get_one_invoice(
    durable_databases: TestDatabases, offices: Sequence[Books]
) -> None:
    await _fifty_callers(durable_databases, offices)


async def test_without_the_constraints_fifty_callers_bill_twice(
    durable_databases: TestDatabases, offices: Sequence[Books]
) -> None:
    await _execute(durable_databases.live, *NEVER_TWICE)
    with pytest.raises(AssertionError):
        await _fifty_callers(durable_databases, offices)
    assert await billed(durable_databases.live) != 15775


async def _fifty_callers(databases: TestDatabases, offices: Sequence[Books]) -> None:
    """Nobody gets a number until several are on the way to one."""
    await make_growth(offices[0])
    await offices[0].use(1_374_923)
    async with holding(databases.dsn, COUNTER_HELD):
        callers = [
            asyncio.create_task(ask_for_invoice(offices[number % len(offices)]))
            for number in range(CALLERS)
        ]
        await eventually(are_waiting, databases.test, RACERS_MIN)
    answers = Counter(await asyncio.gather(*callers))
    assert answers == Counter({"NOTHING_TO_INVOICE": CALLERS - 1, "created": 1})
    assert await billed(databases.live) == 15775
    assert await numbers(databases.live) == [1]


async def test_a_chunk_that_two_workers_settle_counts_once(
    durable_databases: TestDatabases, offices: Sequence[Books]
) -> None:
    await _two_at_one_chunk(durable_databases, offices)


async def test_without_its_key_a_chunk_counts_twice_and_the_run_ends_early(
    durable_databases: TestDatabases, offices: Sequence[Books]
) -> None:
    await _execute(durable_databases.live, SETTLED_ONCE)
    with pytest.raises(AssertionError):
        await _two_at_one_chunk(durable_databases, offices)
    (job,) = (await offices[0].get("/v1/jobs"))["data"]
    assert job["status"] == "completed"


async def _two_at_one_chunk(databases: TestDatabases, offices: Sequence[Books]) -> None:
    """Of a run over twice as many customers, of whom none has anything to bill: no constraint on
    invoices helps.
    """
    books = offices[0]
    await make_calls(books, [f"c{number}" for number in range(2 * CHUNK)])
    job_id = await books.bulk()
    await bulk_runs.plan(books.context, job_id)
    rows = await fetch(databases.live, "SELECT customer_no FROM customers ORDER BY 1")
    chunk = InvoiceChunk(
        bulk_run_id=job_id, customer_nos=tuple(int(str(no)) for (no,) in rows[:CHUNK])
    )
    async with holding(databases.dsn, NOBODY_ENDS_A_CHUNK):
        workers = [
            asyncio.create_task(bulk_runs.invoice_chunk(office.context, chunk, last_attempt=False))
            for office in offices[:2]
        ]
        await eventually(are_waiting, databases.test, 2)
    await asyncio.gather(*workers)
    job = await books.get(f"/v1/jobs/{job_id}")
    assert job["progress"] == {"total": 2 * CHUNK, "done": CHUNK}
    assert job["status"] == "running"
    settled = "SELECT count(*), count(DISTINCT customer_no) FROM bulk_run_customers"
    assert await fetch(databases.live, settled) == [(CHUNK, CHUNK)]


async def test_an_invoice_that_an_amendment_overtakes_is_rated_again(
    durable_databases: TestDatabases, offices: Sequence[Books], clock: FakeClock
) -> None:
    await _amended_while_rated(durable_databases, offices, clock)


async def test_without_the_count_of_amendments_what_never_was_stays_billed(
    durable_databases: TestDatabases,
    offices: Sequence[Books],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(billing, "mark", _unguarded_mark(billing.mark))
    with pytest.raises(AssertionError):
        await _amended_while_rated(durable_databases, offices, clock)
    assert await billed(durable_databases.live) == 4900 + 100


async def _amended_while_rated(
    databases: TestDatabases, offices: Sequence[Books], clock: FakeClock
) -> None:
    """A period is invoiced to its end, half a day ahead, and cancelled before that commits."""
    books, other = offices[:2]
    await books.metric(**CALLS)
    await books.plan(FEE, PER_CALL)
    await books.customer()
    subscription_id = await books.subscribe()
    clock.set(datetime(2026, 4, 30, 12, tzinfo=UTC))
    await books.use(100, "2026-04-30T20:00:00Z")
    async with holding(databases.dsn, NOBODY_ISSUES):
        invoicing_ = asyncio.create_task(ask_for_invoice(books))
        await eventually(are_waiting, databases.test, 1)
        await other.post(
            f"/v1/subscriptions/{subscription_id}/amendments", type="cancel", effective="immediate"
        )
    assert await invoicing_ == "created"
    clock.set(datetime(2026, 5, 10, tzinfo=UTC))
    await ask_for_invoice(books)
    await books.run_bulk("2026-05-09")
    assert await billed(databases.live) == 4900


def _unguarded_mark(mark: Marking) -> Marking:
    """As `billing.mark`, whatever was amended since."""

    async def unguarded(
        conn: Connection, marks: Sequence[Mark], *, rated_watermark: int, rated_on: date
    ) -> bool:
        rows = await conn.fetch("SELECT subscription_id, amendments_applied FROM subscriptions")
        now = {row["subscription_id"]: row["amendments_applied"] for row in rows}
        current = [
            Mark(
                subscription_id=one.subscription_id,
                billed_through=one.billed_through,
                amendments_applied=now[one.subscription_id],
            )
            for one in marks
        ]
        return await mark(conn, current, rated_watermark=rated_watermark, rated_on=rated_on)

    return unguarded


async def _execute(database: Database, *statements: str) -> None:
    async with database.connection() as conn:
        for statement in statements:
            await conn.execute(statement)
