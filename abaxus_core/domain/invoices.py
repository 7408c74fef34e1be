"""Invoices: line items, totals that are their sum, customer credit, and legal transitions.

How a line comes about is true_up.py's; here lines become a draft that can be issued.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from abaxus_core.domain.charges import PricingModel
from abaxus_core.domain.decimals import ZERO
from abaxus_core.domain.money import from_minor
from abaxus_core.domain.periods import Period
from abaxus_core.domain.pricing import Step, TierShare
from abaxus_core.errors import IllegalTransition

InvoiceStatus = Literal["issued", "paid", "archived"]
PaymentStatus = Literal["processing", "requires_action", "failed", "unknown", "succeeded"]
LineKind = Literal[
    "usage", "flat_fee", "proration_credit", "proration_charge", "adjustment", "credit_applied"
]

_TRANSITIONS: frozenset[tuple[InvoiceStatus, InvoiceStatus]] = frozenset(
    {("issued", "paid"), ("issued", "archived")}
)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line item, as the columns of invoice_lines name it.

    A line of a charge is `owed − previously billed` for one segment of one billing period; its
    quantity, step or breakdown, and proof are of everything owed, not of the difference; events
    within `pauses` do not count. A credit line has none of these. `revision` counts a charge's
    lines within a segment, from 1.
    """

    kind: LineKind
    description: str
    exact_amount: Decimal = ZERO
    amount_minor: int = 0
    charge_id: str | None = None
    pricing_model: PricingModel | None = None
    metric_key: str | None = None
    subscription_id: str | None = None
    plan_id: str | None = None
    plan_version: int | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    segment_start: datetime | None = None
    segment_end: datetime | None = None
    window_end: datetime | None = None
    pauses: tuple[Period, ...] = ()
    revision: int | None = None
    quantity: Decimal | None = None
    owed_minor: int | None = None
    previously_billed_minor: int | None = None
    step: Step | None = None
    tier_breakdown: tuple[TierShare, ...] | None = None
    event_count: int | None = None
    digest: int | None = None
    watermark: int | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Lines and their total, ready to be issued.

    `credit_change_minor`: what the invoice adds to the customer's credit, or, negative, takes.
    """

    lines: tuple[Line, ...]
    total_minor: int
    credit_change_minor: int
    period_start: datetime
    period_end: datetime


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An issued invoice. Its lines, total and periods never change; its status may."""

    id: str
    number: int
    customer_no: int
    customer_id: str
    customer_sequence: int
    status: InvoiceStatus
    payment_status: PaymentStatus | None = None
    currency: str
    total_minor: int
    period_start: datetime
    period_end: datetime
    cutoff: datetime
    calculation_id: str | None = None
    archive_reason: str | None = None
    created_at: datetime
    paid_at: datetime | None = None
    archived_at: datetime | None = None
    lines: tuple[Line, ...] = ()


def number_text(number: int) -> str:
    """Return an invoice's number as customers see it.

    >>> number_text(1)
    'INV-000001'
    """
    return f"INV-{number:06d}"


def draft(lines: Sequence[Line], *, currency: str, credit_minor: int) -> Draft:
    """Return the draft of one or more lines, with the customer's credit taken or left over.

    `credit_minor` (not negative) is what the customer has. Credit is taken first, never beyond
    what is due; lines that sum below zero make a total of 0 and leave the rest as credit.
    """
    assert lines, "an invoice without a line is not issued"
    assert credit_minor >= 0, "a customer's credit is never negative"
    due_minor = sum(line.amount_minor for line in lines)
    applied_minor = credit_change(due_minor, credit_minor)
    all_lines = (*lines, *_credit_lines(applied_minor, currency))
    total_minor = due_minor + applied_minor
    assert total_minor >= 0, "an invoice never totals below zero"
    assert total_minor == sum(line.amount_minor for line in all_lines), "lines sum to the total"
    return Draft(
        lines=all_lines,
        total_minor=total_minor,
        credit_change_minor=applied_minor,
        period_start=min(line.period_start for line in lines if line.period_start is not None),
        period_end=max(line.period_end for line in lines if line.period_end is not None),
    )


def credit_change(due_minor: int, credit_minor: int) -> int:
    """Return what lines that sum to `due_minor` add to a customer's credit or, negative, take.

    >>> credit_change(500, 200), credit_change(-300, 200)
    (-200, 300)
    """
    return -due_minor if due_minor < 0 else -min(due_minor, credit_minor)


def _credit_lines(applied_minor: int, currency: str) -> list[Line]:
    if applied_minor == 0:
        return []
    return [
        Line(
            kind="credit_applied",
            description="Credit carried forward" if applied_minor > 0 else "Credit applied",
            exact_amount=from_minor(applied_minor, currency),
            amount_minor=applied_minor,
        )
    ]


def check_transition(current: InvoiceStatus, to: InvoiceStatus) -> None:
    """Raise INVALID_STATE unless an invoice may go from one status to the other."""
    if (current, to) not in _TRANSITIONS:
        raise IllegalTransition(f"an invoice that is {current} cannot become {to}")
