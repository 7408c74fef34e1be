"""Period cases: boundaries from an anchor, billing days, cycles, calendar steps."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from abaxus_core.domain.instants import INSTANT_MAX, ONE_DAY, day_end, day_start, parse_instant
from abaxus_core.domain.periods import (
    Cadence,
    Period,
    add_months,
    boundary,
    period,
    period_at,
    period_number,
    periods_between,
    whole_days,
)
from tests.vectors.calendars import (
    billing_anchor,
    cadence_of,
    calendar_anchor,
    day,
    in_utc,
    instant,
)
from tests.vectors.case import Case

Answer = dict[str, Any]
RESOLUTION = timedelta(microseconds=1)


def _cadence(case: Case) -> Cadence:
    return cadence_of(case.input["interval"], int(case.input.get("count", 1)))


def _next_boundary(case: Case) -> Answer:
    anchor, at = instant(case.input["anchor"]), instant(case.input["at"])
    return {
        "instant": _boundary_from(anchor, _cadence(case), at, case.input.get("inclusive", False))
    }


def _boundary_from(anchor: datetime, cadence: Cadence, at: datetime, inclusive: bool) -> datetime:
    holding = period_at(anchor, cadence, at)
    return holding.start if inclusive and holding.start == at else holding.end


def _previous_boundary(case: Case) -> Answer:
    anchor, at = instant(case.input["anchor"]), instant(case.input["at"])
    latest = at if case.input.get("inclusive", False) else at - RESOLUTION
    return {"instant": period_at(anchor, _cadence(case), latest).start}


def _period_containing(case: Case) -> Answer:
    holding = period_at(instant(case.input["anchor"]), _cadence(case), instant(case.input["at"]))
    return {"start": holding.start, "end": holding.end}


def _next_billing_at(case: Case) -> Answer:
    """The anchor gives day and time of day; the period that ends says in which month."""
    cadence = _cadence(case)
    start, anchor = instant(case.input["period_start"]), instant(case.input["anchor"])
    following = _boundary_from(
        _phase(start, anchor, cadence), cadence, day_end(start.date()) - RESOLUTION, False
    )
    service_end = case.input.get("service_end")
    ends = [following] if service_end is None else [following, instant(service_end)]
    return {"instant": min(ends)}


def _phase(start: datetime, anchor: datetime, cadence: Cadence) -> datetime:
    if cadence.interval == "year":
        return anchor
    around = billing_anchor(anchor.day, start.date(), cadence)
    return around + (anchor - day_start(anchor.date()))


def _next_calendar_boundary(case: Case) -> Answer:
    in_utc(case.input)
    anchor = calendar_anchor(case.input["interval"], case.input.get("week_starts", "monday"))
    return {"instant": period_at(anchor, _cadence(case), instant(case.input["at"])).end}


def _boundaries(case: Case) -> Answer:
    covered = periods_between(
        instant(case.input["anchor"]),
        _cadence(case),
        instant(case.input["from"]),
        instant(case.input["to"]),
    )
    return {"starts": [_as_stated(part.start, case.input["from"]) for part in covered]}


def _as_stated(at: datetime, example: str) -> str:
    return at.date().isoformat() if "T" not in example else at.isoformat().replace("+00:00", "Z")


def _advance(case: Case) -> Answer:
    cadence, start = _cadence(case), day(case.input["date"])
    steps = int(case.input["n"])
    anchor_day = case.input.get("anchor_day")
    if anchor_day is None or cadence.interval in ("day", "week"):
        return {"date": boundary(start, cadence, steps).date()}
    months = steps * cadence.count * (12 if cadence.interval == "year" else 1)
    return {"date": add_months(start, months, day=int(anchor_day)).date()}


def _whole_periods(case: Case) -> Answer:
    start, end = day(case.input["from"]), day(case.input["to"])
    if end < start:
        return {"count": -period_number(end, _cadence(case), start)}
    return {"count": period_number(start, _cadence(case), end)}


def _days_between(case: Case) -> Answer:
    in_utc(case.input)
    start, end = (day_start(instant(case.input[key]).date()) for key in ("from", "to"))
    return {"days": whole_days(start, end) - whole_days(end, start)}


def _billing_day_period(case: Case) -> Answer:
    at = day(case.input["at"])
    holding = period_at(_billing_anchor(case, case.input["at"]), _cadence(case), at)
    start = day(case.input["service_start"]) if case.input.get("first") else holding.start
    return _days(Period(start=start, end=holding.end))


def _billing_day_period_containing(case: Case) -> Answer:
    started = day(case.input["service_start"])
    at = max(day(case.input["at"]), started)
    holding = period_at(_service_anchor(case), _cadence(case), at)
    return _days(Period(start=max(holding.start, started), end=holding.end))


def _previous_period(case: Case) -> Answer:
    started = day(case.input["service_start"])
    anchor = _service_anchor(case)
    number = period_number(anchor, _cadence(case), day(case.input["at"]))
    before = period(anchor, _cadence(case), number - 1)
    if before.end <= started:
        return {"start": None, "end": None}
    return _days(Period(start=max(before.start, started), end=before.end))


def _elapsed_cycles(case: Case) -> Answer:
    anchor, cadence = _service_anchor(case), _cadence(case)
    first = period_number(anchor, cadence, day(case.input["service_start"]))
    return {"count": max(0, period_number(anchor, cadence, day(case.input["at"])) - first)}


def _first_billing_date(case: Case) -> Answer:
    started = day(case.input["service_start"])
    return {"date": _boundary_from(_service_anchor(case), _cadence(case), started, True).date()}


def _billed_periods(case: Case) -> Answer:
    started, up_to = day(case.input["service_start"]), day(case.input["up_to"])
    ended = case.input.get("service_end")
    service_end = INSTANT_MAX if ended is None else day(ended)
    reach = min(up_to + ONE_DAY, service_end)
    covered = [
        Period(start=max(part.start, started), end=min(part.end, service_end))
        for part in periods_between(_service_anchor(case), _cadence(case), started, reach)
    ]
    return {
        "periods": [
            [part.start.date().isoformat(), part.end.date().isoformat()]
            for part in covered
            if case.input["in_advance"] or part.end <= up_to
        ]
    }


def _billing_day_of(case: Case) -> Answer:
    in_utc(case.input)
    return {"billing_day": parse_instant(case.input["at"]).day}


def _billing_day_in_month(case: Case) -> Answer:
    in_utc(case.input)
    month = day_start(parse_instant(case.input["at"]).date().replace(day=1))
    return {"date": add_months(month, 0, day=int(case.input["billing_day"])).date()}


def _next_billing_day(case: Case) -> Answer:
    in_utc(case.input)
    at = parse_instant(case.input["at"]).date()
    anchor = _billing_anchor(case, at.isoformat())
    return {"date": _boundary_from(anchor, _cadence(case), day_start(at), True).date()}


def _service_anchor(case: Case) -> datetime:
    return _billing_anchor(case, case.input["service_start"])


def _billing_anchor(case: Case, around: str) -> datetime:
    return billing_anchor(int(case.input["billing_day"]), day(around).date(), _cadence(case))


def _days(part: Period) -> Answer:
    return {"start": part.start.date(), "end": part.end.date()}


KINDS: Mapping[str, Callable[[Case], Answer]] = {
    "next_boundary": _next_boundary,
    "previous_boundary": _previous_boundary,
    "period_containing": _period_containing,
    "next_billing_at": _next_billing_at,
    "next_calendar_boundary": _next_calendar_boundary,
    "boundaries": _boundaries,
    "advance": _advance,
    "whole_periods": _whole_periods,
    "days_between": _days_between,
    "billing_day_period": _billing_day_period,
    "billing_day_period_containing": _billing_day_period_containing,
    "previous_period": _previous_period,
    "elapsed_cycles": _elapsed_cycles,
    "first_billing_date": _first_billing_date,
    "billed_periods": _billed_periods,
    "billing_day_of": _billing_day_of,
    "billing_day_in_month": _billing_day_in_month,
    "next_billing_day": _next_billing_day,
}
