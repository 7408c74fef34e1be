"""Subscriptions: the state at an instant, the billing periods of a life, and the terms within them.

A billing period is cut into segments, each under one plan version; a subscription that was never
amended has exactly one. Amounts are true_up.py's.
"""

from datetime import datetime
from typing import Literal

import msgspec

from abaxus_core.domain.periods import Cadence, Period, period_at, periods_between
from abaxus_core.errors import InvalidInput

SubscriptionStatus = Literal["scheduled", "active", "paused", "cancelled", "ended"]


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Pins a plan version for a customer over [start_at, end_at).

    Every billing period that ends at or before `billed_through` has been invoiced with all events
    landed up to `rated_watermark`.
    """

    id: str
    customer_no: int
    customer_id: str
    plan_id: str
    plan_version: int
    start_at: datetime
    end_at: datetime | None = None
    billed_through: datetime | None = None
    rated_watermark: int = 0
    created_at: datetime


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The plan version that holds."""

    plan_id: str
    plan_version: int


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A half-open stretch of a billing period under one plan version."""

    start: datetime
    end: datetime
    terms: Terms


def check_life(start_at: datetime, end_at: datetime | None) -> None:
    """Raise InvalidInput unless the end, if any, lies after the start."""
    if end_at is not None and end_at <= start_at:
        raise InvalidInput("must lie after start_date", field="end_date")


def status_at(subscription: Subscription, instant: datetime) -> SubscriptionStatus:
    """Return the state that holds at an instant."""
    if instant < subscription.start_at:
        return "scheduled"
    if subscription.end_at is not None and instant >= subscription.end_at:
        return "ended"
    return "active"


def _terms(subscription: Subscription) -> Terms:
    return Terms(plan_id=subscription.plan_id, plan_version=subscription.plan_version)


def current_period(
    subscription: Subscription, cadence: Cadence, instant: datetime
) -> Period | None:
    """Return the billing period that holds `instant`; None when it lies outside the life."""
    if status_at(subscription, instant) != "active":
        return None
    return _clip(period_at(subscription.start_at, cadence, instant), subscription)


def billing_periods(
    subscription: Subscription, cadence: Cadence, start: datetime, end: datetime
) -> list[Period]:
    """Return the billing periods that overlap [start, end), the last one cut off by the life's end.

    Bounded by periods.PERIODS_MAX.
    """
    ends = [end] if subscription.end_at is None else [end, subscription.end_at]
    whole = periods_between(
        subscription.start_at, cadence, max(start, subscription.start_at), min(ends)
    )
    return [_clip(period, subscription) for period in whole]


def _clip(period: Period, subscription: Subscription) -> Period:
    if subscription.end_at is None or period.end <= subscription.end_at:
        return period
    return Period(start=period.start, end=subscription.end_at)


def segments(subscription: Subscription, period: Period) -> list[Segment]:
    """Return the segments that a billing period of the subscription is cut into, in order."""
    return [Segment(start=period.start, end=period.end, terms=_terms(subscription))]
