"""Payments as they are answered, alone or with the invoice that they collect."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias, get_args

import msgspec

from abaxus_core.domain import payments as domain
from abaxus_core.domain.payments import PaymentState, RetryClass

PaymentOutcome: TypeAlias = Literal[
    "pending",
    "requires_action",
    "unknown",
    "needs_operator",
    "succeeded",
    "declined",
    "rejected",
    "not_charged",
]


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to collect an invoice.

    `pending` and `unknown` are looked up until they settle; `needs_operator` waits for
    `POST /v1/payments/{id}/resolve`. `provider_code` is the provider's own word, `retry` whether
    another attempt may help.
    """

    id: str
    invoice_id: str
    provider: str
    provider_payment_id: str | None
    status: PaymentOutcome
    amount: int
    currency: str
    code: str | None
    provider_code: str | None
    retry: RetryClass | None
    attempted_at: datetime
    settled_at: datetime | None


def shown_payment(payment: domain.Payment) -> Payment:
    """A payment as it is answered."""
    return Payment(
        id=payment.id,
        invoice_id=payment.invoice_id,
        provider=payment.provider,
        provider_payment_id=payment.provider_payment_id,
        status=_outcome(payment.state),
        amount=payment.amount_minor,
        currency=payment.currency,
        code=payment.code,
        provider_code=payment.provider_code,
        retry=payment.retry,
        attempted_at=payment.last_sent_at or payment.created_at,
        settled_at=payment.settled_at,
    )


def states_of(outcome: PaymentOutcome | None) -> Sequence[PaymentState]:
    """The states that are shown as this; all of them for None."""
    states: Sequence[PaymentState] = get_args(PaymentState)
    return [state for state in states if outcome in (None, _outcome(state))]


def _outcome(state: PaymentState) -> PaymentOutcome:
    match state:
        case "created" | "sending" | "transient":
            return "pending"
        case _:
            return state
