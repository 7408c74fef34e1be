from decimal import Decimal

import pytest

from abaxus_core.domain.aggregation import (
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
from tests.unit.domain.samples import at, decimals

EVENTS = [
    Measurement(value=Decimal("2.5"), occurred_at=at("2026-04-02"), arrival=1, property="a"),
    Measurement(value=Decimal(-4), occurred_at=at("2026-04-03"), arrival=2, property="b"),
    Measurement(value=Decimal(7), occurred_at=at("2026-04-01"), arrival=3, property="a"),
    Measurement(value=Decimal(1), occurred_at=at("2026-04-03"), arrival=4, property=None),
]


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [("sum", "6.5"), ("count", "4"), ("max", "7"), ("min", "-4"), ("last", "1"),
     ("unique_count", "2")],
)  # fmt: skip
def test_the_seven_but_one(aggregation: Aggregation, value: str) -> None:
    assert aggregate(aggregation, EVENTS) == Decimal(value)


@pytest.mark.parametrize(
    ("percentile", "value"),
    [("50", "1.75"), ("95", "6.325"), ("0.0000000001", "-4"), ("33.3333333333", "0.99999999")],
)
def test_percentiles_interpolate(percentile: str, value: str) -> None:
    got = aggregate("percentile", EVENTS, percentile=Decimal(percentile))
    assert abs(got - Decimal(value)) < Decimal("0.0000001")


def test_a_percentile_has_at_most_ten_decimals() -> None:
    values = decimals("0", "0.0000000001")
    assert percentile_of(values, Decimal(50)) == Decimal("0.0000000001")
    assert percentile_of(values, Decimal("49.9")) == 0


def test_a_percentile_of_one_value_is_it() -> None:
    assert percentile_of(decimals("3.3"), Decimal("99.9999999999")) == Decimal("3.3")


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_an_empty_set_is_zero(aggregation: Aggregation) -> None:
    assert aggregate(aggregation, [], percentile=Decimal(95)) == 0


def test_last_ties_go_to_the_later_arrival() -> None:
    one = Measurement(value=Decimal(9), occurred_at=at("2026-04-01"), arrival=7)
    two = Measurement(value=Decimal(5), occurred_at=at("2026-04-01"), arrival=8)
    assert aggregate("last", [two, one]) == Decimal(5)


def test_sums_of_bytes_lose_no_digit() -> None:
    most = Decimal("9999999999999999999999999999.9999999999")
    events = [Measurement(value=most, occurred_at=at("2026-04-01"))] * 1000
    assert aggregate("sum", events) == Decimal("9999999999999999999999999999999.9999999")


def test_partials_of_days_make_the_whole() -> None:
    days = [partial_of(EVENTS[:1]), EMPTY, partial_of(EVENTS[1:3]), partial_of(EVENTS[3:])]
    merged = merge(merge(days[3], days[1]), merge(days[0], days[2]))
    assert merged == partial_of(EVENTS)
    assert value_of("last", merged) == Decimal(1)
