"""Backfill: stored when answered, once, in every total, or nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest

from abaxus_core.domain.events import Event
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import inbox
from abaxus_core.services import metrics
from abaxus_core.services.ingestion import Accepted, Offer
from abaxus_core.services.landing import Landed, Lander
from abaxus_core.services.work import SYSTEM, Context, perform
from tests.support.api import serving
from tests.support.books import PER_CALL, keeping
from tests.support.clock import FakeClock
from tests.support.metering import T0, event, fetch, land_all, make_catalogue, offer
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

STORED = "SELECT idempotency_key, value FROM events ORDER BY 1"
COUNTS = (
    "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM event_keys),"
    " (SELECT coalesce(sum(event_count), 0) FROM usage_daily),"
    " (SELECT count(*) FROM event_conflicts)"
)


@pytest.fixture
async def client(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[httpx.AsyncClient]:
    """The API over a catalogue that only live mode has."""
    await make_catalogue(databases.live)
    async with serving(databases, clock) as api:
        yield api.client


async def backfill(context: Context, *offers: Offer) -> list[bool | str]:
    """What became of each: its error's code, or whether it was a duplicate."""
    results = await context.backfill.store(offers)
    return [one.duplicate if isinstance(one, Accepted) else one.code for one in results]


def body(key: str, **fields: object) -> dict[str, object]:
    given = {
        "customer_id": "acme",
        "metric_key": "total",
        "value": "1.5",
        "timestamp": "2026-05-01T12:00:00Z",
        "idempotency_key": key,
    }
    return given | fields


async def test_a_backfill_answers_as_a_batch_and_is_in_the_totals(
    client: httpx.AsyncClient,
) -> None:
    items = [body("a"), body("b", customer_id="nobody"), 17, body("a"), body("c", value="2")]
    answer = await client.post("/v1/events/backfill", json={"events": items})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (2, 1, 2)
    assert [
        (one["index"], one["status"], one["duplicate"], (one["error"] or {}).get("code"))
        for one in told["results"]
    ] == [
        (0, "stored", False, None),
        (1, "rejected", False, "CUSTOMER_NOT_FOUND"),
        (2, "rejected", False, "VALIDATION_FAILED"),
        (3, "stored", True, None),
        (4, "stored", False, None),
    ]
    replay = await client.post("/v1/events", json=items[0])
    assert replay.json() == {
        "event_id": told["results"][0]["event_id"],
        "status": "queued",
        "idempotency_key": "a",
        "duplicate": True,
    }
    period = {"customer_id": "acme", "period_start": "2026-05-01", "period_end": "2026-06-01"}
    summary = (await client.get("/v1/usage/summary", params=period)).json()
    computed = await client.post("/v1/usage/compute", json={**period, "metric_key": "total"})
    assert [used["value"] for used in summary["usage"]] == ["3.5"]
    assert (computed.json()["value"], computed.json()["event_count"]) == ("3.5", 2)


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_backfill_is_bounded_as_a_batch_is(client: httpx.AsyncClient, count: int) -> None:
    answer = await client.post("/v1/events/backfill", json={"events": [1] * count})
    code = "BATCH_TOO_LARGE" if count else "VALIDATION_FAILED"
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)


async def test_what_is_known_is_a_duplicate_and_writes_nothing(context: Context) -> None:
    assert await backfill(context, event("a"), event("a"), event("b")) == [False, True, False]
    before = await fetch(context.database, COUNTS)
    assert before == [(2, 2, 2, 0)]
    assert await backfill(context, event("b"), event("a")) == [True, True]
    assert await offer(context, event("a")) == [True]
    assert await fetch(context.database, COUNTS) == before
    assert await fetch(context.database, "SELECT 1 FROM event_inbox") == []


async def test_what_waits_in_the_inbox_is_stored_once(context: Context) -> None:
    await offer(context, event("a"), event("b"))
    assert await backfill(context, event("b"), event("c")) == [False, False]
    await land_all(context)
    assert [key for key, _ in await fetch(context.database, STORED)] == ["a", "b", "c"]
    assert await fetch(context.database, COUNTS) == [(3, 3, 3, 0)]


async def test_the_first_payload_stands_and_others_are_recorded_once(context: Context) -> None:
    await backfill(context, event("known"))
    other = {"value": Decimal(7)}
    offers = (event("known", **other), event("new"), event("new", **other), event("known", **other))
    assert await backfill(context, *offers) == [True, False, True, True]
    assert await backfill(context, *offers) == [True] * 4
    assert await fetch(context.database, STORED) == [("known", Decimal(1)), ("new", Decimal(1))]
    assert await fetch(
        context.database,
        "SELECT event ->> 'idempotency_key', event ->> 'value' FROM event_conflicts ORDER BY 1",
    ) == [("known", "7"), ("new", "7")]
    told = context.telemetry.exposition().decode()
    assert 'abaxus_event_conflicts_total{mode="live"} 2.0' in told
    assert 'abaxus_events_total{mode="live",outcome="duplicate"} 7.0' in told


async def test_backfills_and_landings_of_the_same_events_store_each_once(context: Context) -> None:
    events = [
        event(f"k{n}", value=Decimal(n), timestamp=T0 + timedelta(hours=n)) for n in range(200)
    ]
    answers: list[list[bool | str]] = []

    async def send(mine: list[Event]) -> None:
        answers.append(await backfill(context, *mine))

    for _ in range(3):
        await offer(context, *events)
    await asyncio.gather(
        *(send(events[::step]) for step in (1, -1, 1, -1, 1, -1)),
        *(land_all(context) for _ in range(3)),
    )
    assert await fetch(context.database, COUNTS) == [(200, 200, 200, 0)]
    assert await fetch(context.database, "SELECT sum(value_sum) FROM usage_daily") == [(19_900,)]
    assert sum(answer.count(False) for answer in answers) <= len(events)
    ((deadlocks,),) = await fetch(
        context.database,
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    )
    assert deadlocks == 0


async def test_what_lands_between_the_look_and_the_storing_is_a_duplicate(
    context: Context,
) -> None:
    await offer(context, event("taken"), event("differs"))
    landed, commit = asyncio.Event(), asyncio.Event()
    lander = Lander(context.database, context.clock)

    async def land_slowly(conn: Connection) -> Landed:
        rows = await inbox.claim(conn, events_max=10, bytes_max=10_000)
        done = await lander.land_or_set_aside(conn, rows)
        landed.set()
        await commit.wait()
        return done

    landing = asyncio.create_task(lander.transaction(land_slowly))
    await landed.wait()
    offers = (event("taken"), event("differs", value=Decimal(7)), event("new"))
    filling = asyncio.create_task(backfill(context, *offers))
    await eventually(lambda: _somebody_waits(context))
    commit.set()
    await landing
    assert await filling == [True, True, False]
    assert await fetch(context.database, COUNTS) == [(3, 3, 3, 1)]


async def _somebody_waits(context: Context) -> bool:
    return await fetch(
        context.database,
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'",
    ) == [(1,)]


async def test_a_deactivated_metric_takes_nothing_new(context: Context) -> None:
    used = event("a", metric_key="calls")
    await backfill(context, used)
    await perform(context, SYSTEM, lambda work: metrics.deactivate(work, "calls"))
    new = event("new", metric_key="calls")
    assert await backfill(context, used, new, event("b")) == [True, "METRIC_INACTIVE", False]
    assert [key for key, _ in await fetch(context.database, STORED)] == ["a", "b"]


async def test_of_one_instant_the_last_is_the_one_that_arrived_last(context: Context) -> None:
    def level(key: str, value: int) -> Event:
        return event(key, metric_key="level", value=Decimal(value))

    await offer(context, level("first", 1))
    await backfill(context, level("second", 2), level("third", 3))
    await land_all(context)
    assert await fetch(context.database, "SELECT last_event[3] FROM usage_daily") == [(3,)]
    await offer(context, level("fourth", 4))
    await land_all(context)
    assert await fetch(context.database, "SELECT last_event[3] FROM usage_daily") == [(4,)]


async def test_months_are_made_as_need_arises_and_made_again_when_dropped(context: Context) -> None:
    old = datetime(1999, 12, 31, tzinfo=UTC)
    await backfill(context, event("a"), event("b", timestamp=old))
    await fetch(context.database, "DROP TABLE events_2026_05")
    assert await backfill(context, event("c")) == [False]
    assert [key for key, _ in await fetch(context.database, STORED)] == ["b", "c"]


async def test_a_backfill_that_cannot_be_stored_writes_nothing(context: Context) -> None:
    await backfill(context, event("known"))
    await fetch(
        context.database,
        "ALTER TABLE events ADD CONSTRAINT unlucky CHECK (idempotency_key <> 'c')",
    )
    before = await fetch(context.database, COUNTS)
    with pytest.raises(asyncpg.CheckViolationError):
        await backfill(context, event("known", value=Decimal(7)), event("b"), event("c"))
    assert await fetch(context.database, COUNTS) == before
    assert await backfill(context, event("b")) == [False]


async def test_a_backfill_that_cannot_be_stored_is_answered_as_our_fault(
    databases: TestDatabases, client: httpx.AsyncClient
) -> None:
    await fetch(databases.live, "ALTER TABLE events ADD CONSTRAINT unlucky CHECK (value < 0)")
    answer = await client.post("/v1/events/backfill", json={"events": [body("a")]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL")
    assert await fetch(databases.live, COUNTS) == [(0, 0, 0, 0)]


async def test_an_invoiced_period_that_is_backfilled_is_adjusted_by_the_next_invoice(
    databases: TestDatabases, clock: FakeClock
) -> None:
    async with keeping(databases, clock) as books:
        await books.metric(key="api_calls", aggregation="sum")
        await books.plan(PER_CALL)
        await books.customer()
        await books.subscribe()
        await books.use(1000)
        assert _lines(await books.invoice()) == [("usage", "2026-04-01T00:00:00Z", 1000)]
        late = body("late", metric_key="api_calls", value=500, timestamp="2026-04-20T00:00:00Z")
        await books.post("/v1/events/backfill", 200, events=[late])
        await books.use(300, "2026-05-02T00:00:00Z")
        assert _lines(await books.invoice("2026-05-09")) == [
            ("adjustment", "2026-04-01T00:00:00Z", 500),
            ("usage", "2026-05-01T00:00:00Z", 300),
        ]
        assert (await books.invoice_refused("2026-05-09"))[1] == "NOTHING_TO_INVOICE"


def _lines(invoice: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(line["kind"], line["period_start"], line["amount"]) for line in invoice["line_items"]]
