"""Amendments: what is to become of a subscription from an instant on, each an object of its own.

What they make of the subscription's life is lives.py's; the rules are the product contract's,
section 7.
"""

from datetime import datetime
from typing import Literal

import msgspec

from abaxus_core.errors import IllegalTransition, InvalidInput

AmendmentType = Literal["plan_change", "pause", "resume", "cancel", "end_date_change"]
AmendmentStatus = Literal["pending", "applied", "cancelled", "failed"]

REASON_LENGTH_MAX = 1_000


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """`effective` is what was asked for, `effective_at` the instant that it stands for.

    `plan_id`, `plan_version`: of a plan change. `resume_at`: of a pause that ends by itself.
    `end_at`: of a change of the end date, None for no end. `failure`: why it could not be applied.
    """

    id: str
    subscription_id: str
    type: AmendmentType
    effective: str
    effective_at: datetime
    status: AmendmentStatus = "pending"
    plan_id: str | None = None
    plan_version: int | None = None
    prorate: bool = False
    resume_at: datetime | None = None
    end_at: datetime | None = None
    reason: str | None = None
    failure: str | None = None
    applied_at: datetime | None = None
    created_at: datetime


def check_cancellable(amendment: Amendment) -> None:
    """Raise INVALID_STATE unless the amendment is still to be applied."""
    if amendment.status != "pending":
        raise IllegalTransition(f"an amendment that is {amendment.status} cannot be cancelled")


def check_times(amendment: Amendment, now: datetime) -> None:
    """Raise InvalidInput when it takes effect in the past, or ends before it begins."""
    if amendment.effective_at < now:
        raise InvalidInput("must not lie in the past", field="effective")
    if amendment.resume_at is not None and amendment.resume_at <= amendment.effective_at:
        raise InvalidInput("must lie after the pause begins", field="resume_date")
    if amendment.end_at is not None and amendment.end_at <= amendment.effective_at:
        raise InvalidInput("must lie after the amendment takes effect", field="end_date")
