"""Billing periods: half-open [start, end) in UTC, each boundary computed from the original anchor.

This is the one place that computes boundaries. What a subscription's life cuts off a period is
subscriptions.py's; money is not known here.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import msgspec

from abaxus_core.domain.instants import AHEAD_MAX, end_of
from abaxus_core.errors import InvalidInput

Interval = Literal["day", "week", "month", "year"]

COUNT_MAX = 366

# Eleven years of days; whoever bills more at once is asked to do it in steps.
PERIODS_MAX = 4096

SNAP = timedelta(seconds=1)

# The boundaries of a chunk of subscriptions, each of which is asked for several times.
BOUNDARIES_KEPT = 4096

_MONTHS: Mapping[Interval, int] = MappingProxyType({"month": 1, "year": 12})
_LENGTHS: Mapping[Interval, timedelta] = MappingProxyType(
    {"day": timedelta(days=1), "week": timedelta(weeks=1)}
)


class Cadence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """How long a billing period is: `count` intervals."""

    interval: Interval
    count: int = 1


CADENCES: Mapping[str, Cadence] = MappingProxyType(
    {
        "daily": Cadence(interval="day"),
        "weekly": Cadence(interval="week"),
        "monthly": Cadence(interval="month"),
        "quarterly": Cadence(interval="month", count=3),
        "semiannual": Cadence(interval="month", count=6),
        "annual": Cadence(interval="year"),
    }
)


class Period(msgspec.Struct, frozen=True, kw_only=True, order=True, gc=False):
    """Half-open [start, end), aware UTC."""

    start: datetime
    end: datetime

    def contains(self, instant: datetime) -> bool:
        return self.start <= instant < self.end


def cadence_of(billing_period: str | Cadence, field: str = "billing_period") -> Cadence:
    """Return the cadence of a name (`monthly`) or of an interval and count; else InvalidInput."""
    if isinstance(billing_period, Cadence):
        if not 1 <= billing_period.count <= COUNT_MAX:
            raise InvalidInput(f"must be between 1 and {COUNT_MAX}", field=f"{field}.count")
        return billing_period
    if billing_period not in CADENCES:
        raise InvalidInput(f"must be one of {', '.join(CADENCES)}, or an object", field=field)
    return CADENCES[billing_period]


def billing_period_of(cadence: Cadence) -> str | Cadence:
    """Return the name of a cadence that has one, else the cadence itself."""
    names = {known: name for name, known in CADENCES.items()}
    return names.get(cadence, cadence)


def add_months(instant: datetime, months: int, *, day: int | None = None) -> datetime:
    """Return the instant `months` later on `day` (default: its own), or the month's last day.

    >>> from datetime import UTC
    >>> add_months(datetime(2026, 1, 31, tzinfo=UTC), 1).date().isoformat()
    '2026-02-28'
    """
    index = instant.year * 12 + instant.month - 1 + months
    year, month = divmod(index, 12)
    return instant.replace(
        year=year, month=month + 1, day=min(day or instant.day, days_in_month(year, month + 1))
    )


def days_in_month(year: int, month: int) -> int:
    """Return how many days a month of a year has.

    >>> days_in_month(2024, 2)
    29
    """
    following = date(year + month // 12, month % 12 + 1, 1)
    return (following - timedelta(days=1)).day


@lru_cache(maxsize=BOUNDARIES_KEPT)
def boundary(anchor: datetime, cadence: Cadence, n: int) -> datetime:
    """Return the start of period `n`: the anchor for 0, and `n` cadences from it, never stepwise.

    >>> from datetime import UTC
    >>> anchor = datetime(2026, 1, 31, tzinfo=UTC)
    >>> [boundary(anchor, CADENCES["monthly"], n).date().isoformat() for n in (1, 2)]
    ['2026-02-28', '2026-03-31']
    """
    steps = n * cadence.count
    if cadence.interval in _MONTHS:
        return add_months(anchor, steps * _MONTHS[cadence.interval])
    return anchor + steps * _LENGTHS[cadence.interval]


def period(anchor: datetime, cadence: Cadence, n: int) -> Period:
    """Return period `n`, counted from 0 at the anchor; it ends where `n + 1` starts."""
    return Period(start=boundary(anchor, cadence, n), end=boundary(anchor, cadence, n + 1))


def period_number(anchor: datetime, cadence: Cadence, instant: datetime) -> int:
    """Return the number of the period that holds `instant`; negative before the anchor."""
    if cadence.interval in _MONTHS:
        return _month_period_number(anchor, cadence, instant)
    return (instant - anchor) // (cadence.count * _LENGTHS[cadence.interval])


def _month_period_number(anchor: datetime, cadence: Cadence, instant: datetime) -> int:
    months = (instant.year - anchor.year) * 12 + instant.month - anchor.month
    n = months // (cadence.count * _MONTHS[cadence.interval])
    # The estimate looks at months only: the boundary may fall later in the instant's month.
    return n if boundary(anchor, cadence, n) <= instant else n - 1


def period_at(anchor: datetime, cadence: Cadence, instant: datetime) -> Period:
    """Return the period that holds `instant`."""
    return period(anchor, cadence, period_number(anchor, cadence, instant))


def periods_between(
    anchor: datetime, cadence: Cadence, start: datetime, end: datetime
) -> list[Period]:
    """Return the periods that overlap [start, end), in order.

    Raises InvalidInput when they are more than PERIODS_MAX.
    """
    if end <= start:
        return []
    first = period_number(anchor, cadence, start)
    after = period_number(anchor, cadence, end)
    if boundary(anchor, cadence, after) < end:
        after += 1
    if after - first > PERIODS_MAX:
        raise InvalidInput(
            f"spans {after - first} billing periods; at most {PERIODS_MAX} can be billed at once, "
            "so choose an earlier cutoff first",
            field="cutoff_date",
        )
    starts = [boundary(anchor, cadence, n) for n in range(first, after + 1)]
    return [Period(start=one, end=next_) for one, next_ in pairwise(starts)]


def resolve_cutoff(value: date | datetime, now: datetime, field: str = "cutoff_date") -> datetime:
    """Return the exclusive end that a cutoff stands for: a date means the whole of that day.

    Raises InvalidInput CUTOFF_IN_FUTURE when it lies more than 24 h after `now`.
    """
    cutoff = end_of(value)
    if cutoff > now + AHEAD_MAX:
        raise InvalidInput(
            "must not be more than 24 hours ahead", code="CUTOFF_IN_FUTURE", field=field
        )
    return cutoff


def snap(cutoff: datetime, end: datetime) -> datetime:
    """Return `end` when the cutoff falls within the last second before it, else the cutoff.

    >>> from datetime import UTC
    >>> end = datetime(2026, 5, 1, tzinfo=UTC)
    >>> snap(datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC), end) == end
    True
    """
    return end if end - SNAP <= cutoff < end else cutoff


def whole_days(start: datetime, end: datetime) -> int:
    """Return the days from `start` to `end`, a started one counting whole; at least 0.

    >>> from datetime import UTC
    >>> whole_days(datetime(2026, 4, 20, 12, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
    11
    """
    return max(0, -((start - end) // timedelta(days=1)))
