"""Partitions of events by month: made ahead, found again, and a place for every instant."""

from datetime import UTC, datetime, timedelta

import pytest

from abaxus_core.kernel.queue import Job
from abaxus_core.services import upkeep
from abaxus_core.services.jobs import PARTITIONS_MAKE, MakePartitions
from abaxus_core.services.landing import Lander
from abaxus_core.services.work import Context
from abaxus_core.worker import handlers
from tests.support.clock import FakeClock
from tests.support.metering import T0, event, fetch, land_all, offer

MICROSECOND = timedelta(microseconds=1)


async def partitions(context: Context) -> list[str]:
    rows = await fetch(
        context.database,
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'events'::regclass ORDER BY 1",
    )
    return [str(name) for (name,) in rows]


async def homes(context: Context) -> list[tuple[object, ...]]:
    return await fetch(
        context.database, "SELECT idempotency_key, tableoid::regclass::text FROM events ORDER BY 1"
    )


async def test_this_month_and_the_next_are_made_by_the_clock(
    context: Context, clock: FakeClock
) -> None:
    assert "partitions" in [each.name for each in handlers.SCHEDULES]
    (handler,) = [each for each in handlers.of(context) if each.kind is PARTITIONS_MAKE]
    job = Job(job_id=1, attempt=1, attempts_max=1, payload=MakePartitions())
    for now in (datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)):
        clock.set(now)
        for _ in range(2):
            await handler.run(job)
    assert await partitions(context) == [
        "events_2026_11",
        "events_2026_12",
        "events_2027_01",
        "events_before_2000",
    ]


async def test_events_of_a_new_month_find_its_partition_made(
    context: Context, clock: FakeClock
) -> None:
    clock.set(datetime(2026, 5, 31, 23, tzinfo=UTC))
    await upkeep.make_partitions(context)
    made = await partitions(context)
    await offer(context, event("a", timestamp=datetime(2026, 6, 1, tzinfo=UTC)))
    await land_all(context)
    assert await homes(context) == [("a", "events_2026_06")]
    assert await partitions(context) == made


@pytest.mark.parametrize(
    ("now", "occurred_at", "home"),
    [
        (None, datetime(1900, 1, 1, tzinfo=UTC), "events_before_2000"),
        (None, datetime(1969, 12, 31, tzinfo=UTC), "events_before_2000"),
        (None, datetime(2000, 1, 1, tzinfo=UTC) - MICROSECOND, "events_before_2000"),
        (None, datetime(2000, 1, 1, tzinfo=UTC), "events_2000_01"),
        (None, datetime(2026, 5, 1, tzinfo=UTC) - MICROSECOND, "events_2026_04"),
        (
            datetime(8999, 12, 31, tzinfo=UTC),
            datetime(8999, 12, 31, 23, tzinfo=UTC),
            "events_8999_12",
        ),
    ],
)
async def test_every_instant_has_a_place(
    context: Context, clock: FakeClock, now: datetime | None, occurred_at: datetime, home: str
) -> None:
    clock.set(now or clock())
    assert await offer(context, event("a", timestamp=occurred_at)) == [False]
    (landed,) = await land_all(context)
    assert (landed.stored_count, landed.quarantined_count) == (1, 0)
    assert await homes(context) == [("a", home)]
    assert await fetch(context.database, "SELECT day FROM usage_daily") == [(occurred_at.date(),)]


async def test_a_detached_month_is_attached_again_with_what_is_in_it(context: Context) -> None:
    await offer(context, event("a"))
    await land_all(context)
    await fetch(context.database, "ALTER TABLE events DETACH PARTITION events_2026_05")
    assert await homes(context) == []
    assert await offer(context, event("b", timestamp=T0 + timedelta(days=1))) == [False]
    await land_all(context)
    assert await homes(context) == [("a", "events_2026_05"), ("b", "events_2026_05")]
    assert await fetch(context.database, "SELECT sum(event_count) FROM usage_daily") == [(2,)]
    indexed = "SELECT count(*) FROM pg_indexes WHERE tablename = 'events_2026_05'"
    assert await fetch(context.database, indexed) == [(1,)]


async def test_a_running_lander_finds_a_month_that_was_detached(context: Context) -> None:
    lander = Lander(context.database, context.clock)
    await offer(context, event("a"))
    await lander.land()
    await fetch(context.database, "ALTER TABLE events DETACH PARTITION events_2026_05")
    await offer(context, event("b"))
    landed = await lander.land()
    assert (landed.stored_count, landed.quarantined_count) == (1, 0)
    assert await homes(context) == [("a", "events_2026_05"), ("b", "events_2026_05")]
