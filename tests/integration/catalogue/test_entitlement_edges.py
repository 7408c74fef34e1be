"""A billing period that began today: what lands is counted at once, and as a rule fast."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from abaxus_core.domain import settled_usage
from abaxus_core.errors import NotReady
from abaxus_core.services.entitlements import recent_events, slow_lane
from tests.integration.catalogue.conftest import Api
from tests.integration.catalogue.test_entitlement_lane import NOBODY_READS_EVENTS, Reader
from tests.integration.catalogue.test_entitlements import call, limit, subscribed
from tests.support.clock import FakeClock
from tests.support.locks import are_waiting, holding
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

BEGAN = datetime(2026, 5, 10, 12, tzinfo=UTC)
EVENTS_MAX = 5


@pytest.fixture
async def reader(catalogue: Api, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """acme's period began at noon, and has an event; few more are many."""
    monkeypatch.setattr(settled_usage, "UNSETTLED_MAX", 1)
    monkeypatch.setattr(recent_events, "EVENTS_MAX", EVENTS_MAX)
    await subscribed(catalogue, "a", limit(100), start_date=BEGAN.isoformat())
    clock.set(BEGAN)
    await used(catalogue, -60, 0)
    reader = Reader(catalogue)
    assert await now_used(reader) == 1
    return reader


async def used(catalogue: Api, *seconds: int) -> None:
    """Land an event at each of these seconds of the period; none was there before."""
    events = [
        call(f"{second}", 1, (BEGAN + timedelta(seconds=second)).isoformat()) for second in seconds
    ]
    await catalogue.used(*events)


async def now_used(reader: Reader) -> int:
    return int((await reader.check("calls")).current_usage or 0)


@contextmanager
def slow_lane_shut() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow_lane, "WAITING_MAX", 0)
        yield


async def test_landings_between_checks_do_without_the_slow_lane(
    catalogue: Api, reader: Reader, clock: FakeClock
) -> None:
    with slow_lane_shut():
        for second in range(1, EVENTS_MAX):
            clock.advance(timedelta(hours=1))
            await used(catalogue, second)
            assert await now_used(reader) == 1 + second


async def test_a_late_event_is_found(catalogue: Api, reader: Reader, clock: FakeClock) -> None:
    clock.advance(timedelta(hours=2))
    await used(catalogue, *range(1, EVENTS_MAX + 1))
    assert await now_used(reader) == 1 + EVENTS_MAX
    await used(catalogue, 7_000)
    with slow_lane_shut():
        assert await now_used(reader) == 2 + EVENTS_MAX
    await used(catalogue, 30)
    with slow_lane_shut(), pytest.raises(NotReady):
        await now_used(reader)
    assert await now_used(reader) == 3 + EVENTS_MAX


async def test_what_lies_in_the_day_before_the_period_is_told_apart(
    catalogue: Api, reader: Reader
) -> None:
    await used(catalogue, -30)
    with slow_lane_shut(), pytest.raises(NotReady):
        await now_used(reader)
    assert await now_used(reader) == 1
    await used(catalogue, 10)
    with slow_lane_shut():
        assert await now_used(reader) == 2


async def test_more_than_are_read_at_once_are_read_slowly_and_then_fast_again(
    catalogue: Api, reader: Reader, clock: FakeClock
) -> None:
    many = 3 * EVENTS_MAX
    clock.set(BEGAN + timedelta(seconds=many + 2))
    await used(catalogue, *range(1, many + 1))
    with slow_lane_shut(), pytest.raises(NotReady):
        await now_used(reader)
    assert await now_used(reader) == 1 + many
    for second in range(many + 1, many + EVENTS_MAX):
        await used(catalogue, second)
        with slow_lane_shut():
            assert await now_used(reader) == 1 + second


async def test_many_who_ask_at_once_are_all_told(catalogue: Api, reader: Reader) -> None:
    await used(catalogue, 1, 2)
    with slow_lane_shut():
        assert await asyncio.gather(*(now_used(reader) for _ in range(100))) == [3] * 100


async def test_who_locks_the_events_holds_up_those_alone_who_need_them(
    catalogue: Api, databases: TestDatabases, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are those failed whom the short statement keeps waiting too long."""
    monkeypatch.setattr(recent_events, "TIMEOUT_S", 0.1)
    await used(catalogue, 1)
    async with holding(databases.dsn, NOBODY_READS_EVENTS):
        waiting = [asyncio.create_task(now_used(reader)) for _ in range(3)]
        await eventually(are_waiting, databases.test, 1)
        assert not (await reader.check("sso")).granted
        await asyncio.sleep(0.2)
    assert await asyncio.gather(*waiting) == [2] * 3
