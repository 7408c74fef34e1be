"""Aggregation is blind to the order and to the batches in which events come."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from abaxus_core.domain.aggregation import (
    ADDITIVE,
    AGGREGATIONS,
    EMPTY,
    Aggregation,
    Measurement,
    aggregate,
    merge,
    partial_of,
    percentile_of,
    value_of,
)
from tests.property.strategies import LARGEST, SMALLEST

START = datetime(2026, 4, 1, tzinfo=UTC)

values = st.decimals(min_value=SMALLEST, max_value=LARGEST, places=10) | st.integers(-9, 9).map(
    Decimal
)
# Few instants and arrivals, so that ties are common.
measurements = st.builds(
    Measurement,
    value=values,
    occurred_at=st.integers(0, 4).map(lambda hours: START + timedelta(hours=hours)),
    arrival=st.integers(0, 3),
    property=st.none() | st.sampled_from(["a", "b", "1"]),
)
sets = st.lists(measurements, max_size=20)
percentiles = st.decimals(
    min_value=Decimal("0.0000000001"), max_value=Decimal("99.9999999999"), places=10
)
aggregations = st.sampled_from(AGGREGATIONS)


@given(aggregations, st.data(), sets, percentiles)
def test_order_does_not_matter(
    aggregation: Aggregation, data: st.DataObject, events: list[Measurement], percentile: Decimal
) -> None:
    shuffled = data.draw(st.permutations(events))
    assert aggregate(aggregation, events, percentile=percentile) == aggregate(
        aggregation, shuffled, percentile=percentile
    )


@given(st.sampled_from(sorted(ADDITIVE)), st.lists(sets, max_size=5))
def test_batches_do_not_matter(aggregation: Aggregation, batches: list[list[Measurement]]) -> None:
    merged = reduce(merge, map(partial_of, batches), EMPTY)
    whole = [event for batch in batches for event in batch]
    assert merged == partial_of(whole)
    assert value_of(aggregation, merged) == aggregate(aggregation, whole)


@given(sets, sets)
def test_merging_goes_either_way(one: list[Measurement], other: list[Measurement]) -> None:
    assert merge(partial_of(one), partial_of(other)) == merge(partial_of(other), partial_of(one))


@given(st.lists(values, min_size=1, max_size=20), percentiles, percentiles)
def test_percentiles_stay_within_the_values_and_ascend(
    numbers: list[Decimal], one: Decimal, other: Decimal
) -> None:
    lower, upper = (percentile_of(numbers, p) for p in sorted([one, other]))
    assert min(numbers) <= lower <= upper <= max(numbers)
