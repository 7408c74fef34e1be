"""Every anchor of a leap year and every length of period over twelve years, day by day."""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest

from abaxus_core.domain.periods import CADENCES, Cadence, Period, period_at, periods_between

YEARS = 12
FIRST = date(2024, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range((date(FIRST.year + YEARS, 1, 1) - FIRST).days)]
MONTH_ENDS = {day for day in DAYS if (day + timedelta(days=1)).month != day.month}
# Of the 29th to 31st too, 29 February among them.
ANCHORS = DAYS[:366]
AT = time(6, 30, tzinfo=UTC)
TICK = timedelta(microseconds=1)
EVERY = [
    *CADENCES.values(),
    *(Cadence(interval="month", count=count) for count in (2, 5, 7, 12, 18)),
    *(Cadence(interval="year", count=count) for count in (2, 3)),
    *(Cadence(interval="week", count=count) for count in (2, 6)),
    *(Cadence(interval="day", count=count) for count in (10, 30, 366)),
]


@pytest.mark.parametrize("cadence", EVERY, ids=lambda one: f"{one.count}-{one.interval}")
def test_periods_tile_twelve_years_from_every_anchor(cadence: Cadence) -> None:
    for anchor in ANCHORS:
        start = datetime.combine(anchor, AT)
        expected = [datetime.combine(day, AT) for day in _boundaries(anchor, cadence)]
        periods = _periods(start, cadence, expected[-1])
        assert [one.start for one in periods] == expected[:-1]
        assert all(one.end == next_.start for one, next_ in pairwise(periods))
        assert periods[-1].end == expected[-1]


@pytest.mark.parametrize("cadence", EVERY, ids=lambda one: f"{one.count}-{one.interval}")
def test_each_instant_lies_in_the_period_that_a_boundary_opens(cadence: Cadence) -> None:
    for anchor in ANCHORS[::7] + ANCHORS[28:31] + ANCHORS[58:60]:
        start = datetime.combine(anchor, AT)
        expected = [datetime.combine(day, AT) for day in _boundaries(anchor, cadence)]
        for one, next_ in pairwise(expected[:400]):
            period = Period(start=one, end=next_)
            assert period_at(start, cadence, one) == period
            assert period_at(start, cadence, next_ - TICK) == period


def _periods(start: datetime, cadence: Cadence, end: datetime) -> list[Period]:
    """In two halves: twelve years of days are more than are billed at once."""
    halfway = period_at(start, cadence, start + (end - start) / 2).start
    return [
        *periods_between(start, cadence, start, halfway),
        *periods_between(start, cadence, halfway, end),
    ]


def _boundaries(anchor: date, cadence: Cadence) -> list[date]:
    """The days, of all, on which a period starts."""
    after = DAYS[bisect_left(DAYS, anchor) :]
    match cadence.interval:
        case "day":
            return after[:: cadence.count]
        case "week":
            return after[:: 7 * cadence.count]
        case "month":
            return list(_monthly(after, anchor, cadence.count))
        case "year":
            return list(_monthly(after, anchor, 12 * cadence.count))


def _monthly(days: Iterable[date], anchor: date, months: int) -> Iterable[date]:
    """On the anchor's day of the month, or the last of a month that is too short."""
    for day in days:
        passed = (day.year - anchor.year) * 12 + day.month - anchor.month
        if passed % months == 0 and (
            day.day == anchor.day or (day.day < anchor.day and day in MONTH_ENDS)
        ):
            yield day
