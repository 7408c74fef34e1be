"""Whatever lands in whatever order, what proves to be a raw part's usage is just that.

The part is read as the service reads it, and counted from scratch beside that.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaxus_core.domain import settled_usage
from abaxus_core.domain.aggregation import ADDITIVE, AGGREGATIONS, Measurement, aggregate
from abaxus_core.domain.instants import day_start
from abaxus_core.domain.periods import Period
from abaxus_core.domain.settled_usage import (
    RawPart,
    Reading,
    Tally,
    caught_up,
    reading,
    stamp_of,
    stretches,
)
from abaxus_core.domain.usage_parts import cut

START = datetime(2026, 4, 1, tzinfo=UTC)
READ_MAX = 5
UNSETTLED_MAX = 2
MEDIAN = Decimal(50)


class Look(msgspec.Struct, frozen=True):
    """Look `later` than before, while so many events land before what is recent is read."""

    later: timedelta
    meanwhile: int


# Instants in seconds: many the same, many close to each other, and some at any time.
instants = st.one_of(
    st.sampled_from([0, 1, 2, 43_200, 43_201, 86_399, 86_400, 86_401]),
    st.integers(40_000, 47_000),
    st.integers(0, 3 * 86_400),
).map(lambda seconds: START + timedelta(seconds=seconds))
events = st.tuples(instants, st.integers(-3, 3).map(Decimal))
looks = st.builds(
    Look,
    st.integers(0, 4_000).map(lambda s: timedelta(seconds=s)),
    st.sampled_from([0, 0, 0, 1, 3]),
)
steps = st.lists(st.one_of(st.integers(1, 3), looks), max_size=40)
sent_events = st.lists(events, max_size=60)
sent_events |= sent_events.map(sorted)
aggregations = st.sampled_from(sorted(ADDITIVE)) | st.sampled_from(AGGREGATIONS)
periods = (
    st.tuples(instants, instants)
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda pair: Period(start=pair[0], end=pair[1]))
)
Sent: TypeAlias = list[tuple[datetime, Decimal]]


class World:
    """What has landed of the events that are sent, in an order of their own."""

    def __init__(self, part: RawPart, sent: Sent) -> None:
        self._part = part
        self._sent = sent
        self._landed = 0

    @property
    def stamp(self) -> str:
        return stamp_of(self.tally(self._part.days))

    @property
    def value(self) -> Decimal | None:
        return self.tally(self._part.period).value

    def land(self, number: int) -> None:
        self._landed += number

    def tally(self, period: Period, at_most: int | None = None) -> Tally:
        numbers = [
            number
            for number, (instant, _) in enumerate(self._sent[: self._landed])
            if period.contains(instant)
        ][:at_most]
        found = [self._measured(number) for number in numbers]
        value = aggregate(self._part.aggregation, found, percentile=MEDIAN) if found else None
        return Tally(value, len(found), sum(map(_hash, numbers)))

    def _measured(self, number: int) -> Measurement:
        instant, value = self._sent[number]
        return Measurement(value=value, occurred_at=instant, arrival=number, property=str(value))


class Reader:
    """Keeps a reading, as RawParts does; counts how often nothing was proved."""

    def __init__(self, part: RawPart, world: World) -> None:
        self._part = part
        self._world = world
        self._kept: Reading | None = None
        self.slow = 0

    def look(self, now: datetime, meanwhile: int) -> None:
        stamp, value = self._world.stamp, self._world.value
        self._world.land(meanwhile)
        kept = self._kept
        if kept is None or kept.stamp != stamp:
            kept = self._caught_up(kept, stamp) or self._slow(kept, now)
        assert kept.value == (value if kept.stamp == stamp else self._world.value)
        self._kept = kept

    def _caught_up(self, kept: Reading | None, stamp: str) -> Reading | None:
        if kept is None or kept.settled is None:
            return None
        since = Period(start=kept.settled.since, end=self._part.period.end)
        recent = self._world.tally(since, READ_MAX)
        return caught_up(self._part, kept.settled, recent, stamp)

    def _slow(self, kept: Reading | None, now: datetime) -> Reading:
        self.slow += 1
        settled = None if kept is None else kept.settled
        found = self._read(now, settled) or self._read(now, None)
        assert found is not None
        assert (found.stamp, found.value) == (self._world.stamp, self._world.value)
        return found

    def _read(self, now: datetime, settled: settled_usage.Settled | None) -> Reading | None:
        read = [(each, self._world.tally(each)) for each in stretches(self._part, now, settled)]
        return reading(self._part, self._world.tally(self._part.days), read, settled)


def raw_parts(period: Period, aggregation: str) -> list[RawPart]:
    parts = cut(period, aggregation)
    sides = (
        (parts.head, parts.from_day, parts.first_day),
        (parts.tail, parts.after_day, parts.to_day),
    )
    return [
        RawPart(
            aggregation=aggregation,
            period=period,
            days=Period(start=day_start(first), end=day_start(after)),
        )
        for period, first, after in sides
        if period is not None
    ]


@pytest.fixture(autouse=True, scope="module")
def few():
    """Few enough for a test's events to be many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settled_usage, "UNSETTLED_MAX", UNSETTLED_MAX)
        yield


@settings(max_examples=1000)
@given(periods, aggregations, sent_events, steps, instants)
def test_what_is_answered_is_what_is_counted_from_scratch(
    period: Period, aggregation: str, sent: Sent, turns: Sequence[int | Look], now: datetime
) -> None:
    for part in raw_parts(period, aggregation):
        world = World(part, sent)
        reader = Reader(part, world)
        instant = now
        for turn in turns:
            if isinstance(turn, int):
                world.land(turn)
            else:
                instant += turn.later
                reader.look(instant, turn.meanwhile)


ORDERLY = RawPart(
    aggregation="sum",
    period=Period(start=START + timedelta(hours=12), end=START + timedelta(hours=24)),
    days=Period(start=START, end=START + timedelta(hours=24)),
)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_events_in_order_are_read_slowly_once_for_a_few_of_them(passed: Sequence[int]) -> None:
    """Once at first, and then whenever more have come than may be unsettled."""
    instant = ORDERLY.period.start
    sent = []
    for seconds in passed:
        instant += timedelta(seconds=seconds)
        sent.append((instant, Decimal(1)))
    world = World(ORDERLY, sent)
    reader = Reader(ORDERLY, world)
    for at, _ in sent:
        world.land(1)
        reader.look(at + timedelta(seconds=2), 0)
    assert reader.slow <= 1 + len(sent) // (READ_MAX - UNSETTLED_MAX)


def _hash(number: int) -> int:
    digest = blake2b(number.to_bytes(4), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
