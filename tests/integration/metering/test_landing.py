"""Landing: once, in any company, whatever lies in the inbox."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from abaxus_core.domain.instants import microseconds
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import watermarks
from abaxus_core.repositories.inbox import QueuedEvent
from abaxus_core.services import landing
from abaxus_core.services.landing import Lander
from abaxus_core.services.work import Context
from tests.support.metering import T0, event, fetch, land_all, offer


async def test_an_event_lands_with_its_rollup(context: Context) -> None:
    await offer(context, event("a", value=Decimal("1.5")), event("b", value=Decimal(2)))
    await land_all(context)
    assert await fetch(
        context.database,
        "SELECT day::text, event_count, value_sum, value_max, value_min, last_event"
        " FROM usage_daily",
    ) == [("2026-05-01", 2, Decimal("3.5"), Decimal(2), Decimal("1.5"), None)]
    assert await fetch(context.database, "SELECT 1 FROM event_inbox") == []


async def test_fifty_copies_at_once_land_once(context: Context) -> None:
    events = [
        event(f"k{n}", value=Decimal(n), timestamp=T0 + timedelta(hours=n)) for n in range(100)
    ]
    shuffler = random.Random(1)

    async def send() -> None:
        mine = shuffler.sample(events, len(events))
        await offer(context, *mine)

    async def land() -> None:
        lander = Lander(context.database, context.clock)
        for _ in range(20):
            await lander.land()

    await asyncio.gather(*(send() for _ in range(50)), *(land() for _ in range(4)))
    await land_all(context)
    assert await fetch(context.database, "SELECT count(*), sum(value) FROM events") == [
        (100, Decimal(4950))
    ]
    assert await fetch(
        context.database, "SELECT sum(event_count), sum(value_sum) FROM usage_daily"
    ) == [(100, Decimal(4950))]
    assert await fetch(context.database, "SELECT 1 FROM event_conflicts") == []


async def test_the_same_keys_under_other_timestamps_land_once(context: Context) -> None:
    for hour in range(5):
        await offer(
            context, *(event(f"k{n}", timestamp=T0 + timedelta(hours=hour)) for n in range(10))
        )
    await land_all(context)
    assert await fetch(context.database, "SELECT count(*), max(occurred_at) FROM events") == [
        (10, T0)
    ]
    assert await fetch(context.database, "SELECT count(*) FROM event_conflicts") == [(40,)]


async def test_what_is_stored_is_no_conflict_beside_what_differs_from_it(context: Context) -> None:
    """Three were accepted before any landed; the first lands alone."""
    for hour in (0, 1, 0):
        await offer(context, event("k", timestamp=T0 + timedelta(hours=hour)))

    async def land_beside(conn: Connection) -> None:
        await conn.execute(
            "SELECT FROM event_inbox WHERE inbox_id > (SELECT min(inbox_id) FROM event_inbox)"
            " FOR UPDATE"
        )
        await land_all(context)

    await context.database.transaction(land_beside)
    await land_all(context)
    assert await fetch(context.database, "SELECT occurred_at FROM events") == [(T0,)]
    assert await fetch(
        context.database, "SELECT (event ->> 'occurred_at')::timestamptz FROM event_conflicts"
    ) == [(T0 + timedelta(hours=1),)]


async def test_a_poisoned_row_is_set_aside_and_blocks_nobody(context: Context) -> None:
    await offer(context, event("a"))
    bad_json, bad_value, bad_properties = b"[[1,", _queued(value="one"), _queued(properties="{")
    await _append_raw(context, bad_json, msgspec.json.encode([bad_value]))
    await offer(context, event("b"))
    await _append_raw(context, msgspec.json.encode([bad_properties]))
    await offer(context, event("c"))
    (landed,) = await land_all(context)
    assert (landed.row_count, landed.quarantined_count, landed.stored_count) == (6, 3, 3)
    assert await fetch(context.database, "SELECT idempotency_key FROM events ORDER BY 1") == [
        ("a",),
        ("b",),
        ("c",),
    ]
    set_aside = await fetch(
        context.database, "SELECT events, error FROM event_quarantine ORDER BY inbox_id"
    )
    assert set_aside[0][0] == bad_json
    assert all(error for _, error in set_aside)
    assert await fetch(context.database, "SELECT sum(event_count) FROM usage_daily") == [(3,)]


async def test_events_land_in_the_month_of_their_utc_instant(context: Context) -> None:
    edge = datetime(2026, 4, 1, tzinfo=UTC)
    await offer(
        context,
        event("before", timestamp=edge - timedelta(microseconds=1)),
        event("on", timestamp=edge),
        event("far past", timestamp=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        event("first month", timestamp=datetime(2000, 1, 1, tzinfo=UTC)),
    )
    await land_all(context)
    assert await fetch(
        context.database,
        "SELECT idempotency_key, tableoid::regclass::text FROM events ORDER BY occurred_at",
    ) == [
        ("far past", "events_before_2000"),
        ("first month", "events_2000_01"),
        ("before", "events_2026_03"),
        ("on", "events_2026_04"),
    ]


async def test_a_late_event_of_a_dropped_month_lands_all_the_same(context: Context) -> None:
    lander = Lander(context.database, context.clock)
    await offer(context, event("a"))
    await lander.land()
    await fetch(context.database, "DROP TABLE events_2026_05")
    await offer(context, event("b"))
    assert (await lander.land()).stored_count == 1
    assert await fetch(context.database, "SELECT idempotency_key FROM events") == [("b",)]


async def test_workers_that_need_the_same_new_months_do_not_collide(context: Context) -> None:
    months = [datetime(2024, month, 15, tzinfo=UTC) for month in range(1, 13)]
    for place, month in enumerate(months * 3):
        await offer(context, event(f"k{place}", timestamp=month))
    landers = [Lander(context.database, context.clock) for _ in range(6)]
    await asyncio.gather(*(lander.land() for lander in landers))
    await land_all(context)
    assert await fetch(context.database, "SELECT count(*) FROM events") == [(36,)]


async def test_two_landings_share_the_inbox(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "EVENTS_MAX", 100)
    for row in range(20):
        await offer(context, *(event(f"k{row}-{n}") for n in range(10)))
    landers = [Lander(context.database, context.clock) for _ in range(2)]
    first, second = await asyncio.gather(*(lander.land() for lander in landers))
    assert first.stored_count == second.stored_count == 100
    assert await fetch(
        context.database, "SELECT count(*), count(DISTINCT landing_no) FROM events"
    ) == [(200, 2)]


async def test_landings_in_opposite_orders_do_not_deadlock(context: Context) -> None:
    keys = [f"k{n}" for n in range(500)]
    for _ in range(3):
        await asyncio.gather(
            offer(context, *(event(key) for key in keys)),
            offer(context, *(event(key) for key in reversed(keys))),
        )
        landers = [Lander(context.database, context.clock) for _ in range(4)]
        await asyncio.gather(*(lander.land() for lander in landers))
    ((deadlocks,),) = await fetch(
        context.database,
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    )
    assert deadlocks == 0
    assert await fetch(context.database, "SELECT count(*) FROM events") == [(500,)]


async def test_a_watermark_waits_for_the_landings_below_it(context: Context) -> None:
    await offer(context, event("a"))
    started, finish = asyncio.Event(), asyncio.Event()

    async def slow_landing(conn: Connection) -> None:
        await watermarks.begin_landing(conn)
        started.set()
        await finish.wait()

    running = asyncio.create_task(context.database.transaction(slow_landing))
    await started.wait()
    async with context.database.connection() as conn:
        reading = asyncio.create_task(watermarks.read(conn))
        done, _ = await asyncio.wait([reading], timeout=0.2)
        assert not done
        finish.set()
        assert await reading == 1
    await running
    await land_all(context)
    assert await fetch(context.database, "SELECT landing_no > 1 FROM events") == [(True,)]


async def test_before_the_first_landing_the_watermark_is_zero(context: Context) -> None:
    async with context.database.connection() as conn:
        assert await watermarks.read(conn) == 0


def _queued(**fields: object) -> QueuedEvent:
    given: dict[str, object] = {
        "customer_no": 1,
        "metric_no": 1,
        "key": bytes(12),
        "occurred_us": microseconds(T0),
        "value": "1",
        "idempotency_key": "poison",
        "subscription_id": None,
        "properties": None,
        **fields,
    }
    return QueuedEvent(**given)


async def _append_raw(context: Context, *bodies: bytes) -> None:
    for body in bodies:
        await fetch(
            context.database,
            "INSERT INTO event_inbox (event_count, events, received_at) VALUES (1, $1, $2)",
            body,
            T0,
        )
