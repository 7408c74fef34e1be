"""Periods tile time, for any anchor and any interval."""

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from abaxus_core.domain.periods import (
    PERIODS_MAX,
    Cadence,
    boundary,
    period,
    period_at,
    period_number,
    periods_between,
)
from tests.property.strategies import anchors, cadences, instants


@given(anchors(), cadences, instants)
def test_every_instant_lies_in_exactly_one_period(
    anchor: datetime, cadence: Cadence, instant: datetime
) -> None:
    n = period_number(anchor, cadence, instant)
    assert period(anchor, cadence, n).contains(instant)
    assert not period(anchor, cadence, n - 1).contains(instant)
    assert not period(anchor, cadence, n + 1).contains(instant)


@given(anchors(), cadences, st.integers(-5, 5))
def test_each_period_starts_where_the_one_before_ends(
    anchor: datetime, cadence: Cadence, n: int
) -> None:
    this, following = period(anchor, cadence, n), period(anchor, cadence, n + 1)
    assert this.start < this.end == following.start
    assert period_at(anchor, cadence, this.start) == this
    assert period_at(anchor, cadence, this.end - timedelta(microseconds=1)) == this


@given(anchors(), cadences, instants, st.timedeltas(timedelta(0), timedelta(days=1500)))
def test_the_periods_between_tile_the_span(
    anchor: datetime, cadence: Cadence, start: datetime, length: timedelta
) -> None:
    end = start + length
    tiles = periods_between(anchor, cadence, start, end)
    assert len(tiles) <= PERIODS_MAX
    assert all(one.end == other.start for one, other in pairwise(tiles))
    if length:
        assert tiles[0].contains(start)
        assert tiles[-1].start < end <= tiles[-1].end


@given(anchors(), st.sampled_from(["month", "year"]), st.integers(1, 24), st.integers(-60, 60))
def test_a_boundary_falls_on_the_anchors_day_or_the_months_last(
    anchor: datetime, interval: str, count: int, n: int
) -> None:
    cadence = Cadence(interval="month" if interval == "month" else "year", count=count)
    start = boundary(anchor, cadence, n)
    assert start.timetz() == anchor.timetz()
    last_of_month = (start + timedelta(days=1)).month != start.month
    assert start.day == anchor.day or (start.day < anchor.day and last_of_month)
