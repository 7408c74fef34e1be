"""Lives: what a subscription's amendments make of it, and the state, periods and segments therein.

A life is the first terms with each amendment applied in the order of taking effect; the
subscription itself is never edited. It says which plan version holds when, when it is paused and
when it ends. A billing period is cut into segments, each under one version; a pause is a gap in a
segment, so tiers go on after it. Amounts are true_up.py's, fees fees.py's.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from abaxus_core.domain.amendments import Amendment
from abaxus_core.domain.periods import Cadence, Period, period_at, periods_between
from abaxus_core.domain.subscriptions import Subscription, Terms

SubscriptionStatus = Literal["scheduled", "active", "paused", "cancelled", "ended"]


class CannotApply(Exception):
    """The amendment makes no sense in the state that the subscription is in; says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Terms that hold from `start` until the next stretch. `prorate`: what began it moves fees."""

    start: datetime
    terms: Terms
    prorate: bool = False


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Half-open [start, end), `end` None for no end yet, and whether its ends move fees."""

    start: datetime
    end: datetime | None
    prorate: bool = False
    prorate_resumption: bool = False

    def contains(self, instant: datetime) -> bool:
        return self.start <= instant and (self.end is None or instant < self.end)


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """`stretches` and `pauses` ascend and do not overlap; there is a stretch from `start_at` on."""

    start_at: datetime
    end_at: datetime | None
    stretches: tuple[Stretch, ...]
    pauses: tuple[Pause, ...] = ()
    cancelled: bool = False
    prorate_end: bool = False


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A half-open stretch of a billing period under one plan version; `pauses` lie within it."""

    start: datetime
    end: datetime
    terms: Terms
    pauses: tuple[Period, ...] = ()


def life_of(subscription: Subscription, *, due_by: datetime | None = None) -> Life:
    """Return a subscription's life after its applied amendments, and those that are due by then.

    A due one that cannot be applied changes nothing.
    """
    terms = Terms(plan_id=subscription.plan_id, plan_version=subscription.plan_version)
    life = Life(
        start_at=subscription.start_at,
        end_at=subscription.end_at,
        stretches=(Stretch(start=subscription.start_at, terms=terms),),
    )
    for amendment in subscription.amendments:
        if amendment.status == "applied":
            life = amended(life, amendment)
        elif due_by is not None and amendment.effective_at <= due_by:
            with suppress(CannotApply):
                life = amended(life, amendment)
    return life


def amended(life: Life, amendment: Amendment) -> Life:
    """Return the life after an amendment that takes effect no sooner than those before it.

    Raises CannotApply.
    """
    at = amendment.effective_at
    state = status_at(life, at)
    if state in ("cancelled", "ended"):
        raise CannotApply(f"the subscription is {state} by then")
    match amendment.type:
        case "plan_change":
            return _with_terms(life, amendment)
        case "pause":
            return _paused(life, amendment, state)
        case "resume":
            return _resumed(life, amendment, state)
        case "cancel":
            return msgspec.structs.replace(
                life, end_at=at, cancelled=True, prorate_end=amendment.prorate
            )
        case "end_date_change":
            return msgspec.structs.replace(
                life, end_at=amendment.end_at, prorate_end=amendment.prorate
            )


def _with_terms(life: Life, amendment: Amendment) -> Life:
    assert amendment.plan_id is not None, "a plan change names a plan"
    assert amendment.plan_version is not None, "a plan change names a version"
    terms = Terms(plan_id=amendment.plan_id, plan_version=amendment.plan_version)
    if life.stretches[-1].terms == terms:
        raise CannotApply(f"it is on version {terms.plan_version} of {terms.plan_id} by then")
    stretch = Stretch(
        start=max(amendment.effective_at, life.start_at), terms=terms, prorate=amendment.prorate
    )
    before = tuple(one for one in life.stretches if one.start < stretch.start)
    if before and before[-1].terms == terms:
        return msgspec.structs.replace(life, stretches=before)
    return msgspec.structs.replace(life, stretches=(*before, stretch))


def _paused(life: Life, amendment: Amendment, state: SubscriptionStatus) -> Life:
    if state != "active":
        raise CannotApply(f"only what is active can be paused, and it is {state} by then")
    pause = Pause(
        start=amendment.effective_at,
        end=amendment.resume_at,
        prorate=amendment.prorate,
        prorate_resumption=amendment.prorate,
    )
    before = life.pauses
    if before and before[-1].end == pause.start:
        pause = msgspec.structs.replace(pause, start=before[-1].start, prorate=before[-1].prorate)
        before = before[:-1]
    return msgspec.structs.replace(life, pauses=(*before, pause))


def _resumed(life: Life, amendment: Amendment, state: SubscriptionStatus) -> Life:
    if state != "paused":
        raise CannotApply(f"only what is paused can be resumed, and it is {state} by then")
    *before, pause = life.pauses
    if pause.start == amendment.effective_at:
        return msgspec.structs.replace(life, pauses=tuple(before))
    pause = msgspec.structs.replace(
        pause, end=amendment.effective_at, prorate_resumption=amendment.prorate
    )
    return msgspec.structs.replace(life, pauses=(*before, pause))


def status_at(life: Life, instant: datetime) -> SubscriptionStatus:
    """Return the state that holds at an instant."""
    if life.end_at is not None and instant >= life.end_at:
        return "cancelled" if life.cancelled else "ended"
    if instant < life.start_at:
        return "scheduled"
    if any(pause.contains(instant) for pause in life.pauses):
        return "paused"
    return "active"


def terms_at(life: Life, instant: datetime) -> Terms:
    """Return the plan version that holds at an instant, or will when the life begins."""
    held = [one.terms for one in life.stretches if one.start <= instant]
    return held[-1] if held else life.stretches[0].terms


def spans(life: Life) -> list[tuple[Stretch, datetime, datetime | None]]:
    """Return each stretch with its start and end, as far as the life lasts; None: for good."""
    starts = [stretch.start for stretch in life.stretches]
    found = []
    for stretch, following in zip(life.stretches, [*starts[1:], None], strict=True):
        ends = [end for end in (following, life.end_at) if end is not None]
        end = min(ends, default=None)
        if end is None or stretch.start < end:
            found.append((stretch, stretch.start, end))
    return found


def current_period(life: Life, cadence: Cadence, instant: datetime) -> Period | None:
    """Return the billing period that holds `instant`; None when it lies outside the life."""
    if status_at(life, instant) not in ("active", "paused"):
        return None
    return clip(period_at(life.start_at, cadence, instant), life)


def billing_periods(life: Life, cadence: Cadence, start: datetime, end: datetime) -> list[Period]:
    """Return the billing periods that overlap [start, end), the last one cut off by the life's end.

    Bounded by periods.PERIODS_MAX.
    """
    ends = [end] if life.end_at is None else [end, life.end_at]
    whole = periods_between(life.start_at, cadence, max(start, life.start_at), min(ends))
    return [clip(period, life) for period in whole]


def clip(period: Period, life: Life) -> Period:
    """Return a period as far as the life lasts."""
    if life.end_at is None or period.end <= life.end_at:
        return period
    return Period(start=period.start, end=life.end_at)


def segments(life: Life, period: Period) -> list[Segment]:
    """Return the segments that a billing period of the life is cut into, in order.

    One that is paused from end to end is left out: nothing in it is billed.
    """
    found = []
    for stretch, start, end in spans(life):
        part = _overlap(Period(start=start, end=period.end if end is None else end), period)
        if part is not None:
            found.append(
                Segment(
                    start=part.start,
                    end=part.end,
                    terms=stretch.terms,
                    pauses=_pauses_within(life, part),
                )
            )
    return [segment for segment in found if not _is_paused(segment)]


def _pauses_within(life: Life, part: Period) -> tuple[Period, ...]:
    known = (Period(start=one.start, end=one.end or part.end) for one in life.pauses)
    overlaps = (_overlap(pause, part) for pause in known if pause.start < pause.end)
    return tuple(one for one in overlaps if one is not None)


def _is_paused(segment: Segment) -> bool:
    paused = sum((pause.end - pause.start for pause in segment.pauses), timedelta())
    return paused == segment.end - segment.start


def _overlap(one: Period, other: Period) -> Period | None:
    start, end = max(one.start, other.start), min(one.end, other.end)
    return Period(start=start, end=end) if start < end else None
