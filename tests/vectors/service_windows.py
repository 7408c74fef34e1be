"""Service windows: which period a billing instant invoices, in arrears or in advance.

The source counts whole days from the anchor's day and gives inclusive ends, a second early. Ours
are half-open, so an end that nothing cut off is a second later than the one expected.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from abaxus_core.domain.instants import day_start, parse_instant
from abaxus_core.domain.periods import Period, period, period_number, whole_days
from tests.vectors.calendars import cadence_of, calendar_anchor, in_utc
from tests.vectors.case import Case

SECOND = timedelta(seconds=1)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """The periods around a billing instant, and what cuts them off."""

    current: Period
    previous: Period
    started_on: datetime
    terminated_at: datetime | None
    in_advance: bool

    @property
    def window(self) -> Period:
        """What a fee covers: the period before, unless it is due in advance or service ended."""
        return self.current if self.in_advance or self.terminated_at else self.previous

    @property
    def usage_window(self) -> Period:
        return self.current if self.terminated_at else self.previous


def _service(case: Case) -> Service:
    given = case.input
    in_utc(given)
    cadence = cadence_of(given["interval"])
    anchor = _day_of(given["anchor_at"])
    if given["alignment"] == "calendar":
        anchor = calendar_anchor(given["interval"])
    number = period_number(anchor, cadence, parse_instant(given["billing_at"]))
    ended = given.get("terminated_at")
    return Service(
        current=period(anchor, cadence, number),
        previous=period(anchor, cadence, number - 1),
        started_on=_day_of(given["started_at"]),
        terminated_at=None if ended is None else parse_instant(ended),
        in_advance=given["in_advance"],
    )


def _day_of(text: str) -> datetime:
    return day_start(parse_instant(text).date())


def _start(window: Period, service: Service) -> dict[str, Any]:
    return {"instant": max(window.start, service.started_on)}


def _end(window: Period, service: Service) -> dict[str, Any]:
    if service.terminated_at is not None and service.terminated_at < window.end:
        return {"instant": service.terminated_at}
    return {"instant": window.end - SECOND}


def _days(window: Period) -> int:
    return whole_days(window.start, window.end)


def service_window(case: Case) -> dict[str, Any]:
    """Return what the case asks of the service around its billing instant."""
    service = _service(case)
    match case.input["ask"]:
        case "window_start":
            return _start(service.window, service)
        case "window_end":
            return _end(service.window, service)
        case "usage_window_start":
            return _start(service.usage_window, service)
        case "usage_window_end":
            return _end(service.usage_window, service)
        case "next_period_end":
            return {"instant": service.current.end - SECOND}
        case "previous_period_start":
            this_one = case.input.get("current_period", False)
            return {"instant": (service.current if this_one else service.previous).start}
        case "period_days":
            return {"period_days": _days(service.window)}
        case "usage_period_days":
            return {"days": _days(service.usage_window)}
    return {}


KINDS: Mapping[str, Callable[[Case], dict[str, Any]]] = {"service_window": service_window}
