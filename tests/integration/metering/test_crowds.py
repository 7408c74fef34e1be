"""Ten thousand tiny customers and a huge one: everybody counted, nobody in anybody's way."""

import random
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from abaxus_core.domain.events import Event
from abaxus_core.kernel.database import Connection
from abaxus_core.services import names
from abaxus_core.services.ingestion import BATCH_MAX
from abaxus_core.services.landing import EVENTS_MAX, ROW_EVENTS_MAX, Lander
from abaxus_core.services.names import Names
from abaxus_core.services.work import Context
from tests.support.feeding import check_rollups
from tests.support.metering import T0, event, fetch, land_all, offer

TINY = 10_000
HUGE = 20_000
SEED = 11
CROWD = """
    INSERT INTO customers (customer_id, metadata, created_at)
    SELECT 'c' || number, '{}', $1 FROM generate_series(0, $2::integer - 1) AS number
"""


@pytest.fixture
async def crowd(context: Context) -> Context:
    """Beside `acme`, which is huge: c0, c1 and so on."""
    async with context.database.connection() as conn:
        await conn.execute(CROWD, T0, TINY)
    return context


def _tiny() -> list[Event]:
    return [
        event("only", customer_id=f"c{number}", value=Decimal(number), timestamp=_hour(number))
        for number in range(TINY)
    ]


def _huge(count: int) -> list[Event]:
    return [
        event(f"k{number}", value=Decimal(1), timestamp=_hour(number)) for number in range(count)
    ]


def _hour(number: int) -> datetime:
    return T0 + timedelta(hours=number % 72)


async def _offer_all(context: Context, events: list[Event]) -> None:
    for start in range(0, len(events), BATCH_MAX):
        request = events[start : start + BATCH_MAX]
        assert await offer(context, *request) == [False] * len(request)


async def test_everybody_is_counted_in_landings_that_are_bounded(crowd: Context) -> None:
    events = _tiny() + _huge(HUGE)
    random.Random(SEED).shuffle(events)
    await _offer_all(crowd, events)
    landings = await land_all(crowd)
    assert sum(landed.stored_count for landed in landings) == TINY + HUGE
    assert max(landed.event_count for landed in landings) < EVENTS_MAX + ROW_EVENTS_MAX
    assert await fetch(
        crowd.database,
        "SELECT count(DISTINCT customer_no), sum(event_count), sum(value_sum) FROM usage_daily",
    ) == [(TINY + 1, TINY + HUGE, TINY * (TINY - 1) // 2 + HUGE)]
    await check_rollups(crowd.database)


async def test_a_crowd_lands_in_one_landing(crowd: Context) -> None:
    await _offer_all(crowd, _tiny())
    assert [landed.stored_count for landed in await land_all(crowd)] == [TINY]
    await check_rollups(crowd.database)


async def test_numbers_are_kept_within_their_bound_and_found_all_the_same(
    crowd: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "NUMBERS_MAX", TINY // 10)
    known = Names(crowd.database)
    expected = dict(await fetch(crowd.database, "SELECT customer_id, customer_no FROM customers"))
    for events in (_tiny(), _tiny()[::-1], _tiny()[:10]):
        found = await known.find(events)
        assert found.customers == {each.customer_id: expected[each.customer_id] for each in events}
        assert len(known._customers._known) <= TINY // 10


async def test_a_customer_whose_landing_is_held_up_holds_up_no_other(crowd: Context) -> None:
    """Another worker has taken what the huge customer sent, and holds its day."""
    await _offer_all(crowd, _huge(BATCH_MAX))
    await land_all(crowd)
    await offer(crowd, event("more"))

    async def hold_up(conn: Connection) -> None:
        await conn.execute("SELECT FROM event_inbox FOR UPDATE")
        await conn.execute("SELECT FROM usage_daily FOR UPDATE")
        await _offer_all(crowd, _tiny()[:BATCH_MAX])
        landings = await land_all(crowd)
        assert [landed.stored_count for landed in landings] == [BATCH_MAX]

    await crowd.database.transaction(hold_up)
    assert [landed.stored_count for landed in await land_all(crowd)] == [1]
    await check_rollups(crowd.database)


async def test_what_a_huge_customer_sent_first_lands_first_and_no_more_than_that(
    crowd: Context,
) -> None:
    await _offer_all(crowd, _huge(EVENTS_MAX))
    await offer(crowd, _tiny()[7])
    lander = Lander(crowd.database, crowd.clock)
    assert (await lander.land()).stored_count == EVENTS_MAX
    await offer(crowd, *(event(f"later-{number}") for number in range(BATCH_MAX)))
    assert (await lander.land()).row_count == 2
    assert await fetch(crowd.database, "SELECT 1 FROM event_inbox") == []
