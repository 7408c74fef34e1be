"""Replicas whose clocks differ by hours: what was accepted first is first, whatever they say."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from abaxus_core.kernel.database import Database
from abaxus_core.repositories import rollups
from abaxus_core.repositories.events import Window
from abaxus_core.services.landing import Lander
from abaxus_core.services.work import Context
from tests.support.clock import FakeClock
from tests.support.metering import T0, context_of, event, fetch, make_catalogue, offer

SKEW = timedelta(hours=9)
TIES = 6
AHEAD_MAX = timedelta(hours=24)


@pytest.fixture
async def replicas(live: Database, clock: FakeClock) -> tuple[Context, Context]:
    """Two of one database; the second's clock is SKEW behind."""
    await make_catalogue(live)
    return context_of(live, clock), context_of(live, FakeClock(clock.now - SKEW))


async def _land(context: Context) -> None:
    lander = Lander(context.database, context.clock)
    while (await lander.land()).row_count:
        pass


async def _level(context: Context, at: datetime) -> list[Decimal]:
    """The last of the metric `level`: of a whole day from rollups, of its hour from raw events."""
    ((customer_no, metric_no),) = await fetch(
        context.database,
        "SELECT customer_no, metric_no FROM customers, metrics"
        " WHERE customer_id = 'acme' AND metric_key = 'level'",
    )
    windows = [
        Window(
            customer_no=customer_no, metric_no=metric_no, aggregation="last", start=start, end=end
        )
        for start, end in ((T0, T0 + timedelta(days=1)), (at, at + timedelta(hours=1)))
    ]
    async with context.database.connection() as conn:
        return [each.value for each in await rollups.aggregate(conn, windows)]


@pytest.mark.parametrize("together", [True, False])
async def test_of_events_of_one_instant_the_last_accepted_is_the_last(
    replicas: tuple[Context, Context], *, together: bool
) -> None:
    """By turns on clocks that differ, landed at once or each by the other replica."""
    at = T0 + timedelta(hours=5)
    for number in range(TIES):
        taking, landing = replicas[number % 2], replicas[(number + 1) % 2]
        tie = event(f"tie-{number}", metric_key="level", value=Decimal(number), timestamp=at)
        assert await offer(taking, tie) == [False]
        if not together:
            await _land(landing)
            assert await _level(landing, at) == [Decimal(number)] * 2
    await _land(replicas[0])
    assert await _level(replicas[0], at) == [Decimal(TIES - 1)] * 2


async def test_in_one_request_the_later_item_is_the_last(
    replicas: tuple[Context, Context],
) -> None:
    at = T0 + timedelta(hours=5)
    ties = [
        event(f"tie-{number}", metric_key="level", value=Decimal(-number), timestamp=at)
        for number in range(TIES)
    ]
    await offer(replicas[0], *ties)
    await _land(replicas[1])
    assert await _level(replicas[1], at) == [Decimal(1 - TIES)] * 2


async def test_what_is_a_day_ahead_is_taken_to_the_microsecond_by_each_clock(
    replicas: tuple[Context, Context],
) -> None:
    ahead, behind = replicas
    edge = behind.clock() + AHEAD_MAX
    beyond = edge + timedelta.resolution
    assert await offer(behind, event("edge", timestamp=edge)) == [False]
    assert await offer(behind, event("beyond", timestamp=beyond)) == ["TIMESTAMP_IN_FUTURE"]
    assert await offer(ahead, event("beyond", timestamp=beyond)) == [False]
    await _land(behind)
    assert await fetch(
        behind.database, "SELECT idempotency_key, occurred_at FROM events ORDER BY occurred_at"
    ) == [("edge", edge), ("beyond", beyond)]


async def test_a_replay_is_a_duplicate_by_every_clock_that_lets_it_in(
    replicas: tuple[Context, Context],
) -> None:
    ahead, behind = replicas
    sent = event("k", timestamp=behind.clock())
    assert await offer(ahead, sent) == [False]
    assert await offer(behind, sent) == [False]
    await _land(ahead)
    await _land(behind)
    assert await offer(behind, sent) == [True]
    assert await fetch(
        ahead.database,
        "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM event_conflicts)",
    ) == [(1, 0)]
