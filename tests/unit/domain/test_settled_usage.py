"""What is settled of a raw part, and what came since: when they are its usage, and when not."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from abaxus_core.domain.periods import Period
from abaxus_core.domain.settled_usage import (
    UNSETTLED_MAX,
    RawPart,
    Settled,
    Tally,
    caught_up,
    reading,
    stamp_of,
    stretches,
)

DAY = Period(start=datetime(2026, 4, 1, tzinfo=UTC), end=datetime(2026, 4, 2, tzinfo=UTC))
NOON = DAY.start + timedelta(hours=12)
NOTHING = Tally(None, 0, 0)
SETTLED = Settled(since=NOON, before=Tally(Decimal(7), 10, 1_000))
RECENT = Tally(Decimal(-2), 3, -50)


def raw_part(aggregation: str = "sum") -> RawPart:
    period = Period(start=DAY.start + timedelta(hours=6), end=DAY.end)
    return RawPart(aggregation=aggregation, period=period, days=DAY)


@pytest.mark.parametrize(
    ("aggregation", "value"), [("sum", 5), ("count", 5), ("max", 7), ("min", -2), ("last", -2)]
)
def test_what_adds_up_is_the_usage(aggregation: str, value: int) -> None:
    found = caught_up(raw_part(aggregation), SETTLED, RECENT, "13:950")
    assert found is not None
    assert (found.value, found.stamp, found.settled) == (value, "13:950", SETTLED)


@pytest.mark.parametrize("stamp", ["14:950", "12:950", "13:951", "13:949", "10:1000"])
def test_what_does_not_add_up_is_none(stamp: str) -> None:
    assert caught_up(raw_part(), SETTLED, RECENT, stamp) is None


def test_events_beside_the_part_have_no_value() -> None:
    beside = Settled(since=NOON, before=Tally(None, 10, 1_000))
    for recent, value in ((NOTHING, None), (RECENT, -2)):
        found = caught_up(raw_part("max"), beside, recent, stamp_of(beside.before, recent))
        assert found is not None
        assert found.value == value


def test_so_much_is_settled_that_few_events_are_not() -> None:
    parts = stretches(raw_part(), NOON, None)
    assert [(NOON - part.end) / timedelta(seconds=1) for part in parts[:-1]] == [
        3600,
        600,
        60,
        10,
        1,
    ]
    tallies = [Tally(Decimal(1), UNSETTLED_MAX // 2, number) for number in range(len(parts))]
    days = Tally(None, 1_000, 500)
    found = reading(raw_part(), days, list(zip(parts, tallies, strict=True)), None)
    assert found is not None
    assert (found.stamp, found.value) == ("1000:500", 6)
    assert found.settled == Settled(
        since=NOON - timedelta(seconds=10),
        before=Tally(Decimal(4), 1_000 - UNSETTLED_MAX, 500 - 4 - 5),
    )


def test_a_crowd_is_unsettled_for_a_second() -> None:
    parts = stretches(raw_part(), NOON, None)
    crowd = [(part, Tally(Decimal(1), UNSETTLED_MAX + 1, 1)) for part in parts]
    found = reading(raw_part(), Tally(None, 1_000, 500), crowd, None)
    assert found is not None
    assert found.settled is not None
    assert found.settled.since == NOON - timedelta(seconds=1)


def test_a_part_that_has_passed_is_settled_whole() -> None:
    settled = Settled(since=DAY.end, before=SETTLED.before)
    later = DAY.end + timedelta(days=3)
    assert stretches(raw_part(), later, settled) == []
    same = reading(raw_part(), Tally(None, 10, 1_000), [], settled)
    assert same is not None
    assert (same.value, same.settled) == (7, settled)
    assert reading(raw_part(), Tally(None, 11, 1_001), [], settled) is None


def test_what_follows_from_no_parts_is_read_whole() -> None:
    parts = stretches(raw_part("unique_count"), NOON, None)
    assert parts == [raw_part().period]
    found = reading(
        raw_part("unique_count"), Tally(None, 9, 8), [(parts[0], Tally(Decimal(4), 5, 6))], None
    )
    assert found is not None
    assert (found.stamp, found.value, found.settled) == ("9:8", 4, None)
