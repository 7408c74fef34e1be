"""Usage of a billing period in parts: its whole UTC days, and what is left at either edge.

Days are kept aggregated, edges have to be read from raw events; so do all events of an aggregation
that days do not add up to, which are one edge.
"""

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from decimal import Decimal

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


def grown(
    value: Decimal, aggregation: Aggregation, parts: Cut, day: date, added: Decimal | None
) -> Decimal | None:
    """Return what a period's usage comes to once so much was added to one of its days.

    `added` goes to a sum or count, or is a value that the day has now for greatest or least. None
    where usage does not follow from it: at the edges of the period, or if it is not known.

    >>> from datetime import datetime
    >>> may = Period(start=datetime(2026, 5, 1, tzinfo=UTC), end=datetime(2026, 6, 1, tzinfo=UTC))
    >>> grown(Decimal(3), "sum", cut(may, "sum"), date(2026, 5, 2), Decimal(4))
    Decimal('7')
    """
    if not parts.from_day <= day < parts.to_day:
        return value
    if added is None or not parts.first_day <= day < parts.after_day:
        return None
    match aggregation:
        case "sum" | "count":
            return add(value, added)
        case "max" if value:
            return max(value, added)
        case "min" if value:
            return min(value, added)
        case _:
            # Zero may be no events at all.
            return None


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
