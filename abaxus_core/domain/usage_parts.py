"""Usage of a billing period in parts: its whole UTC days, and what is left at either edge.

Days are kept aggregated, edges have to be read from raw events; so do all events of an aggregation
that days do not add up to, which are one edge.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from abaxus_core.domain.aggregation import ADDITIVE, Aggregation
from abaxus_core.domain.decimals import ZERO, add, exact
from abaxus_core.domain.instants import ONE_DAY, day_start, days_within
from abaxus_core.domain.periods import Period


class Cut(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A period touches the days [from_day, to_day), of which [first_day, after_day) are whole.

    `head` lies before those, `tail` after them; None where the period has no such edge.
    """

    from_day: date
    first_day: date
    after_day: date
    to_day: date
    head: Period | None
    tail: Period | None


def cut(period: Period, aggregation: Aggregation) -> Cut:
    """Return the parts of a period.

    >>> from datetime import datetime
    >>> april = Period(
    ...     start=datetime(2026, 4, 1, 6, tzinfo=UTC), end=datetime(2026, 5, 1, 6, tzinfo=UTC)
    ... )
    >>> parts = cut(april, "sum")
    >>> str(parts.first_day), str(parts.after_day)
    ('2026-04-02', '2026-05-01')
    >>> cut(april, "percentile").head == april
    True
    """
    start, end = period.start.astimezone(UTC), period.end.astimezone(UTC)
    from_day, to_day = start.date(), (end - timedelta.resolution).date() + ONE_DAY
    first, after = days_within(start, end) if aggregation in ADDITIVE else (to_day, to_day)
    head_end = min(end, day_start(first))
    return Cut(
        from_day=from_day,
        first_day=first,
        after_day=after,
        to_day=to_day,
        head=Period(start=period.start, end=head_end) if from_day < first else None,
        tail=Period(start=day_start(after), end=period.end) if after < to_day else None,
    )


class Growth(msgspec.Struct, frozen=True, gc=False):
    """What was added to a day's usage: to its sum or count, or what is greatest or least in it now.

    The first and the last event that was added were at `first_at` and `last_at`. None: not known.
    """

    day: date
    added: Decimal | None
    first_at: datetime | None
    last_at: datetime | None


def grown(value: Decimal, aggregation: Aggregation, parts: Cut, growth: Growth) -> Decimal | None:
    """Return what a period's usage comes to once one of its days has grown.

    None where that does not follow: if it is not known what was added, or at an edge of the period
    whether all of it lies inside.

    >>> noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    >>> parts = cut(Period(start=noon, end=datetime(2026, 6, 1, tzinfo=UTC)), "sum")
    >>> grown(Decimal(3), "sum", parts, Growth(date(2026, 5, 2), Decimal(4), None, None))
    Decimal('7')
    >>> grown(Decimal(3), "sum", parts, Growth(noon.date(), Decimal(4), noon, noon))
    Decimal('7')
    >>> grown(Decimal(3), "sum", parts, Growth(noon.date(), Decimal(4), None, None))
    """
    if not parts.from_day <= growth.day < parts.to_day:
        return value
    is_whole = parts.first_day <= growth.day < parts.after_day
    where = "inside" if is_whole else _at_an_edge(parts, growth)
    if where == "outside":
        return value
    if growth.added is None:
        return None
    match aggregation:
        case "sum" | "count":
            return add(value, growth.added) if where == "inside" else None
        case "max":
            return _extreme(value, growth.added, max(value, growth.added), is_whole=is_whole)
        case "min":
            return _extreme(value, growth.added, min(value, growth.added), is_whole=is_whole)
        case _:
            return None


def _at_an_edge(parts: Cut, growth: Growth) -> Literal["inside", "outside", "not known"]:
    """Where what was added to a day at an edge of the period lies."""
    edge = parts.head if growth.day < parts.first_day else parts.tail
    if edge is None or growth.first_at is None or growth.last_at is None:
        return "not known"
    if edge.contains(growth.first_at) and edge.contains(growth.last_at):
        return "inside"
    is_outside = growth.last_at < edge.start or edge.end <= growth.first_at
    return "outside" if is_outside else "not known"


def _extreme(value: Decimal, added: Decimal, both: Decimal, *, is_whole: bool) -> Decimal | None:
    """The greatest or least of `both`, where a day's stands for the period's.

    Zero may be no events at all. At an edge the day's may be of an event outside the period.
    """
    if value:
        return both if is_whole or both == value else None
    return both if is_whole and both == added else None


def together(aggregation: Aggregation, parts: Sequence[Decimal | None]) -> Decimal:
    """Return the value of parts that follow each other in time; None is a part without events.

    >>> together("last", (Decimal(3), Decimal(2), None))
    Decimal('2')
    """
    values = [part for part in parts if part is not None]
    if len(values) < 2:
        return values[0] if values else ZERO
    match aggregation:
        case "sum" | "count":
            with exact():
                return sum(values, ZERO)
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "last":
            return values[-1]
        case "unique_count" | "percentile":
            (value,) = values
            return value
