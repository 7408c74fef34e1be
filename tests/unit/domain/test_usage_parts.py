"""Periods in parts: together they are the period, and their values its value."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaxus_core.domain.aggregation import ADDITIVE, AGGREGATIONS, Measurement, aggregate
from abaxus_core.domain.instants import day_start
from abaxus_core.domain.periods import Period
from abaxus_core.domain.usage_parts import Cut, Growth, cut, grown, together
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


@given(periods, measurements, measurements, st.sampled_from(AGGREGATIONS), st.booleans())
def test_grown_usage_is_what_would_be_read_or_is_not_known(
    period: Period, before: list[Measurement], landed: list[Measurement], name: str, known: bool
) -> None:
    def used(events: list[Measurement]) -> Decimal:
        within = [one for one in events if period.contains(one.occurred_at)]
        return aggregate(name, within, percentile=Decimal(50) if name == "percentile" else None)

    parts, events, value = cut(period, name), list(before), used(before)
    for day, added in by_day(landed):
        told = growth(name, day, events, added, instants_known=known)
        events += added
        more = grown(value, name, parts, told)
        assert more is None or more == used(events)
        value = used(events)


def by_day(events: list[Measurement]) -> Iterator[tuple[date, list[Measurement]]]:
    def day_of(one: Measurement) -> date:
        return one.occurred_at.date()

    for day, group in groupby(sorted(events, key=day_of), day_of):
        yield day, list(group)


def growth(
    name: str,
    day: date,
    before: list[Measurement],
    added: list[Measurement],
    *,
    instants_known: bool,
) -> Growth:
    """What a landing tells of a day."""
    of_day = [one for one in before if one.occurred_at.date() == day]
    told = {
        "sum": aggregate("sum", added),
        "count": Decimal(len(added)),
        "max": aggregate("max", of_day + added),
        "min": aggregate("min", of_day + added),
    }
    at = [one.occurred_at for one in added]
    first_at, last_at = (min(at), max(at)) if instants_known else (None, None)
    return Growth(day, told.get(name), first_at, last_at)


MORNING, NOON, EVENING = (at(f"2026-04-01T{hour}:00") for hour in ("06", "12", "18"))


@pytest.mark.parametrize("name", ["sum", "count"])
@pytest.mark.parametrize(
    ("first_at", "last_at", "value"),
    [
        (NOON, EVENING, 7),
        (MORNING, NOON - timedelta.resolution, 3),
        (MORNING, NOON, None),
        (NOON - timedelta.resolution, EVENING, None),
        (None, None, None),
    ],
)
def test_what_is_added_to_the_first_day_of_a_period(
    name: str, first_at: datetime | None, last_at: datetime | None, value: int | None
) -> None:
    parts = cut(Period(start=NOON, end=APRIL.end), "sum")
    told = Growth(NOON.date(), Decimal(4), first_at, last_at)
    assert grown(Decimal(3), name, parts, told) == value


@pytest.mark.parametrize(
    ("first_at", "last_at", "value"),
    [
        (MORNING, NOON - timedelta.resolution, 7),
        (NOON, EVENING, 3),
        (MORNING, NOON, None),
        (MORNING, EVENING, None),
    ],
)
def test_what_is_added_to_the_last_day_of_a_period(
    first_at: datetime, last_at: datetime, value: int | None
) -> None:
    parts = cut(Period(start=at("2026-03-01T06:00"), end=NOON), "sum")
    told = Growth(NOON.date(), Decimal(4), first_at, last_at)
    assert grown(Decimal(3), "sum", parts, told) == value


@pytest.mark.parametrize(
    ("name", "value", "added", "whole", "edge"),
    [
        ("max", 3, 2, 3, 3),
        ("max", 3, 4, 4, None),
        ("max", 0, 4, 4, None),
        ("max", 0, -4, None, None),
        ("max", -3, -4, -3, -3),
        ("min", 3, 4, 3, 3),
        ("min", 3, 2, 2, None),
        ("min", 0, -4, -4, None),
        ("min", 0, 4, None, None),
    ],
)
def test_the_greatest_and_the_least_of_a_day_are_those_of_a_period_where_that_is_certain(
    name: str, value: int, added: int, whole: int | None, edge: int | None
) -> None:
    noon = NOON.replace(day=2)
    told = Growth(noon.date(), Decimal(added), noon, noon)
    for start, expected in ((APRIL.start, whole), (noon, edge)):
        parts = cut(Period(start=start, end=APRIL.end), name)
        assert grown(Decimal(value), name, parts, told) == expected
