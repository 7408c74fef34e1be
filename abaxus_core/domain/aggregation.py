"""What sum, count, max, min, last, unique_count and percentile mean over a set of events.

The result depends on the set alone: never on the order or the batches in which events came. The
SQL of the rollups and of the raw scan states the same rules; tests hold them together.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import Literal, get_args

import msgspec

from abaxus_core.domain.decimals import DECIMALS_MAX, ZERO, exact, round_half_away

Aggregation = Literal["sum", "count", "max", "min", "last", "unique_count", "percentile"]
AGGREGATIONS: tuple[str, ...] = get_args(Aggregation)

# These can be had from rollups; the others need the raw events.
ADDITIVE: frozenset[str] = frozenset({"sum", "count", "max", "min", "last"})

_HUNDREDTH = Decimal("0.01")


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One event, reduced to what aggregation looks at.

    `arrival` orders events that carry the same instant; on the same arrival the greater value wins.
    `property` is the text of the metric's property (a JSON string as it is, any other scalar as
    JSON writes it), None where it is null.
    """

    value: Decimal
    occurred_at: datetime
    arrival: int = 0
    property: str | None = None


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """What every additive aggregation needs of a set of events; None where the set is empty."""

    event_count: int = 0
    value_sum: Decimal = ZERO
    value_max: Decimal | None = None
    value_min: Decimal | None = None
    last_value: Decimal | None = None
    last_occurred_at: datetime | None = None
    last_arrival: int = 0


EMPTY = Partial()


def aggregate(
    aggregation: Aggregation,
    events: Sequence[Measurement],
    *,
    percentile: Decimal | None = None,
) -> Decimal:
    """Return the aggregate of a set of events; 0 when it is empty.

    `percentile` is the metric's, strictly between 0 and 100, for that aggregation only.
    """
    if aggregation == "unique_count":
        return Decimal(len({event.property for event in events if event.property is not None}))
    if aggregation == "percentile":
        assert percentile is not None, "a percentile metric carries its percentile"
        return percentile_of([event.value for event in events], percentile)
    return value_of(aggregation, partial_of(events))


def percentile_of(values: Iterable[Decimal], percentile: Decimal) -> Decimal:
    """Return the percentile by continuous interpolation, rounded to ten decimals, half away.

    The rank is `percentile / 100 × (n − 1)` from the smallest value, as percentile_cont of SQL
    has it, in exact decimals; 0 for no values.

    >>> percentile_of([Decimal(1), Decimal(2), Decimal(3), Decimal(4)], Decimal(95))
    Decimal('3.8500000000')
    """
    ordered = sorted(values)
    if not ordered:
        return ZERO
    with exact():
        rank = percentile * _HUNDREDTH * (len(ordered) - 1)
        low = int(rank)
        high = min(low + 1, len(ordered) - 1)
        between = ordered[low] + (rank - low) * (ordered[high] - ordered[low])
    return round_half_away(between, DECIMALS_MAX)


def partial_of(events: Iterable[Measurement]) -> Partial:
    """Return what the additive aggregations need of a set of events."""
    return reduce(merge, map(_single, events), EMPTY)


def _single(event: Measurement) -> Partial:
    return Partial(
        event_count=1,
        value_sum=event.value,
        value_max=event.value,
        value_min=event.value,
        last_value=event.value,
        last_occurred_at=event.occurred_at,
        last_arrival=event.arrival,
    )


def merge(one: Partial, other: Partial) -> Partial:
    """Return the partial of two disjoint sets of events together, in either order."""
    if one.event_count == 0:
        return other
    if other.event_count == 0:
        return one
    last = max(one, other, key=_recency)
    with exact():
        return Partial(
            event_count=one.event_count + other.event_count,
            value_sum=one.value_sum + other.value_sum,
            value_max=max(part.value_max for part in (one, other) if part.value_max is not None),
            value_min=min(part.value_min for part in (one, other) if part.value_min is not None),
            last_value=last.last_value,
            last_occurred_at=last.last_occurred_at,
            last_arrival=last.last_arrival,
        )


def _recency(part: Partial) -> tuple[datetime, int, Decimal]:
    assert part.last_occurred_at is not None, "only sets with events are compared"
    assert part.last_value is not None, "a set with events has a last one"
    return part.last_occurred_at, part.last_arrival, part.last_value


def value_of(aggregation: Aggregation, part: Partial) -> Decimal:
    """Return an additive aggregation's value; 0 for the empty set."""
    assert aggregation in ADDITIVE, f"{aggregation} needs the raw events"
    values = {
        "sum": part.value_sum,
        "count": Decimal(part.event_count),
        "max": part.value_max,
        "min": part.value_min,
        "last": part.last_value,
    }
    return values[aggregation] or ZERO
