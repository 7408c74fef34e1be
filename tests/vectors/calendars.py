"""Intervals, anchors and days of the vectors in our terms."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any

from abaxus_core.domain.instants import day_start, parse_day, parse_instant
from abaxus_core.domain.periods import Cadence, Interval, boundary, days_in_month
from tests.vectors.case import NotApplicable

_INTERVALS: Mapping[str, tuple[Interval, int]] = MappingProxyType(
    {
        "day": ("day", 1),
        "week": ("week", 1),
        "thirty_days": ("day", 30),
        "month": ("month", 1),
        "quarter": ("month", 3),
        "half_year": ("month", 6),
        "year": ("year", 1),
    }
)

# 1 January 2001 was a Monday: every calendar interval has a boundary there.
CALENDAR_ANCHOR = datetime(2001, 1, 1, tzinfo=UTC)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# Any month length comes round within four years, and a leap day within eight.
_YEARS_BACK = 8


def cadence_of(interval: str, count: int = 1) -> Cadence:
    """Return the cadence of `count` of the vectors' intervals."""
    unit, units = _INTERVALS[interval]
    return Cadence(interval=unit, count=units * count)


def calendar_anchor(interval: str, week_starts: str = "monday") -> datetime:
    """Return an instant at which a calendar day, week, month, quarter, half or year starts."""
    if interval == "week":
        return CALENDAR_ANCHOR + timedelta(days=_WEEKDAYS.index(week_starts))
    return CALENDAR_ANCHOR


def billing_anchor(billing_day: int, around: date, cadence: Cadence) -> datetime:
    """Return an anchor whose boundaries fall on the billing day, or on a shorter month's last.

    One of them falls in the month of `around`. An anchor must lie in a month that has the day, so
    that it comes back after shorter ones: the earlier cycles are searched for one.
    """
    if cadence.interval in ("day", "week"):
        return day_start(around)
    first_of_month = day_start(around.replace(day=1))
    steps = range(0, -12 * _YEARS_BACK, -1)
    months = [boundary(first_of_month, cadence, n) for n in steps]
    longest = max(months, key=lambda month: min(_length(month), billing_day))
    return longest.replace(day=min(billing_day, _length(longest)))


def _length(month: datetime) -> int:
    return days_in_month(month.year, month.month)


def day(text: str) -> datetime:
    """Return the start of a billing day."""
    return day_start(parse_day(text))


def instant(text: str) -> datetime:
    """Return an instant, or the start of a billing day."""
    return parse_instant(text) if "T" in text else day(text)


def in_utc(case_input: Mapping[str, Any]) -> None:
    """Raise NotApplicable unless the case's boundaries are UTC."""
    if case_input.get("timezone", "UTC") not in ("UTC", "Etc/UTC"):
        raise NotApplicable("time-zone")
