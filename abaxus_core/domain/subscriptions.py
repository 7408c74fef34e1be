"""Subscriptions: a customer on a pinned plan version. What amendments make of one is lives.py's."""

from datetime import datetime

import msgspec

from abaxus_core.domain.amendments import Amendment
from abaxus_core.errors import InvalidInput


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Pins a plan version for a customer over [start_at, end_at), as it was made.

    `amendments` are those applied since and then the pending ones, each in the order of taking
    effect. Every billing period that ends at or before `billed_through` has been invoiced with all
    events landed up to `rated_watermark`.
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
    amendments: tuple[Amendment, ...] = ()


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The plan version that holds."""

    plan_id: str
    plan_version: int


def check_life(start_at: datetime, end_at: datetime | None) -> None:
    """Raise InvalidInput unless the end, if any, lies after the start."""
    if end_at is not None and end_at <= start_at:
        raise InvalidInput("must lie after start_date", field="end_date")
