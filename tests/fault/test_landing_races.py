"""Landings against invoices: what lands beside one is on it, or on the next."""

import asyncio
from collections.abc import Sequence

import pytest

from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import watermarks
from abaxus_core.services import invoicing
from abaxus_core.services.landing import Lander
from tests.support.books import Books
from tests.support.locks import are_waiting, holding
from tests.support.metering import fetch, land_all
from tests.support.postgres import TestDatabases
from tests.support.races import ask_for_invoice, billed, make_calls, numbers
from tests.support.waiting import eventually

BATCHES = 40
NOBODY_ADDS_TO_10_APRIL = "SELECT FROM usage_daily WHERE day = '2026-04-10' FOR UPDATE"
NOT_AS_RATED = """
    SELECT l.invoice_id, l.line_no
    FROM invoice_lines AS l
    JOIN invoices AS i ON i.invoice_id = l.invoice_id
    JOIN metrics AS m ON m.metric_key = l.metric_key
    CROSS JOIN LATERAL (
        SELECT count(*) AS event_count, coalesce(sum(e.payload_hash), 0) AS digest
        FROM events AS e
        WHERE e.customer_no = i.customer_no AND e.metric_no = m.metric_no
            AND e.occurred_at >= l.segment_start
            AND e.occurred_at < least(l.segment_end, l.window_end)
            AND e.landing_no <= l.watermark
    ) AS raw
    WHERE (raw.event_count, raw.digest) <> (l.event_count, l.digest)
"""


async def test_usage_that_lands_late_beside_an_invoice_is_not_lost(
    durable_databases: TestDatabases, offices: Sequence[Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    await _landing_overtaken(durable_databases, offices, monkeypatch)


async def test_without_the_lock_behind_the_watermark_usage_is_lost(
    durable_databases: TestDatabases, offices: Sequence[Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(conn: Connection) -> None:
        """Wait for no landing."""

    monkeypatch.setattr(watermarks, "_await_landings", at_once)
    with pytest.raises(AssertionError):
        await _landing_overtaken(durable_databases, offices, monkeypatch)
    assert await fetch(durable_databases.live, NOT_AS_RATED) != []


async def _landing_overtaken(
    databases: TestDatabases, offices: Sequence[Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A landing has its number and goes on only after a later one, and perhaps the invoice."""
    monkeypatch.setattr(invoicing, "INBOX_POLLS_MAX", 0)
    books, other = offices[:2]
    await make_calls(books)
    await books.use(1, "2026-04-10T00:00:00Z")
    async with holding(databases.dsn, NOBODY_ADDS_TO_10_APRIL):
        await _send(books, "slow", "2026-04-10T01:00:00Z", 10)
        slow = asyncio.create_task(land_all(books.context))
        await eventually(are_waiting, databases.test, 1)
        await _send(books, "quick", "2026-04-11T00:00:00Z", 100)
        await land_all(other.context)
        invoice = asyncio.create_task(ask_for_invoice(other))
        await eventually(_waits_or_is_done, databases.test, invoice)
    await asyncio.gather(slow, invoice)
    await _check_everything_is_billed(books, 111)


async def _waits_or_is_done(database: Database, task: asyncio.Task[str]) -> bool:
    return task.done() or await are_waiting(database, 2)


async def test_what_lands_while_invoices_are_made_is_billed_as_recorded(
    durable_databases: TestDatabases, offices: Sequence[Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several landers, several invoicers, and nobody waits for anybody."""
    monkeypatch.setattr(invoicing, "INBOX_POLLS_MAX", 0)
    books = offices[0]
    await make_calls(books)
    using = asyncio.create_task(_use(books))

    async def land(office: Books) -> None:
        lander = Lander(office.context.database, office.context.clock)
        while not using.done():
            await lander.land()
            await asyncio.sleep(0)

    async def invoice(office: Books) -> None:
        while not using.done():
            await ask_for_invoice(office)

    await asyncio.gather(using, *(land(one) for one in offices), *(invoice(one) for one in offices))
    await land_all(books.context)
    await _check_everything_is_billed(books, BATCHES * 30)
    assert len(await numbers(durable_databases.live)) > 1


async def _use(books: Books) -> None:
    """Batches over all of April."""
    for number in range(BATCHES):
        events = [
            _event(f"b{number}-{day}", f"2026-04-{day:02d}T00:00:00Z", 1) for day in range(1, 31)
        ]
        await books.post("/v1/events/batch", 207, events=events)


async def _check_everything_is_billed(books: Books, total_minor: int) -> None:
    """What is new is on the next invoice, and every line counted what its watermark says."""
    await ask_for_invoice(books)
    database = books.context.database
    assert await fetch(database, NOT_AS_RATED) == []
    assert await billed(database) == total_minor
    given = await numbers(database)
    assert given == list(range(1, len(given) + 1))


async def _send(books: Books, key: str, timestamp: str, value: int) -> None:
    await books.post("/v1/events", 202, **_event(key, timestamp, value))


def _event(key: str, timestamp: str, value: int) -> dict[str, object]:
    return {
        "customer_id": "acme",
        "metric_key": "api_calls",
        "value": value,
        "timestamp": timestamp,
        "idempotency_key": key,
    }
