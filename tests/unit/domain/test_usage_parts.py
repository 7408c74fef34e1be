"""Periods in parts: together they are the period, and their values its value."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaxus_core.domain.aggregation import ADDITIVE, AGGREGATIONS, Measurement, aggregate
from abaxus_core.domain.instants import day_start
from abaxus_core.domain.periods import Period
from abaxus_core.domain.usage_parts import Cut, cut, together
from tests.unit.domain.samples import APRIL, at

START = datetime(2026, 4, 1, tzinfo=UTC)
instants = st.integers(0, 6 * 24).map(lambda hours: START + timedelta(hours=hours))
periods = (
    st.tuples(instants, instants)
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda pair: Period(start=pair[0], end=pair[1]))
)
measurements = st.lists(
    st.builds(
        Measurement,
        value=st.integers(-5, 5).map(Decimal),
        occurred_at=instants,
        arrival=st.integers(0, 9),
    ),
    max_size=12,
    unique_by=lambda one: (one.occurred_at, one.arrival),
)


def days(parts: Cut) -> Period | None:
    if parts.first_day >= parts.after_day:
        return None
    return Period(start=day_start(parts.first_day), end=day_start(parts.after_day))


def test_a_period_of_whole_days_has_no_edges() -> None:
    parts = cut(APRIL, "sum")
    assert (parts.head, days(parts), parts.tail) == (None, APRIL, None)


def test_a_period_within_a_day_is_all_edge() -> None:
    period = Period(start=at("2026-04-01T06:00"), end=at("2026-04-01T12:00"))
    parts = cut(period, "max")
    assert (parts.head, days(parts), parts.tail) == (period, None, None)


def test_days_are_those_of_utc() -> None:
    east = timezone(timedelta(hours=14))
    period = Period(start=APRIL.start.astimezone(east), end=APRIL.end.astimezone(east))
    assert cut(period, "sum") == cut(APRIL, "sum")


@given(periods, st.sampled_from(AGGREGATIONS))
def test_the_parts_follow_each_other_and_are_the_period(period: Period, name: str) -> None:
    parts = cut(period, name)
    found = [part for part in (parts.head, days(parts), parts.tail) if part is not None]
    assert (found[0].start, found[-1].end) == (period.start, period.end)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert day_start(parts.from_day) <= period.start
    assert day_start(parts.to_day) >= period.end > day_start(parts.to_day) - timedelta(days=1)
    assert parts.head is None or parts.head.end <= day_start(parts.first_day)
    assert parts.tail is None or parts.tail.start == day_start(parts.after_day)
    assert name in ADDITIVE or found == [period]


@given(periods, measurements, st.sampled_from(sorted(ADDITIVE)))
def test_the_value_of_the_parts_together_is_that_of_the_period(
    period: Period, events: list[Measurement], name: str
) -> None:
    parts = cut(period, name)
    values = []
    for part in (parts.head, days(parts), parts.tail):
        within = [one for one in events if part is not None and part.contains(one.occurred_at)]
        values.append(aggregate(name, within) if within else None)
    whole = [one for one in events if period.contains(one.occurred_at)]
    assert together(name, values) == aggregate(name, whole)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_nothing_is_used_where_there_are_no_events(name: str) -> None:
    assert together(name, (None, None, None)) == 0
