"""Payments: the states of one attempt to collect an invoice, and what moves it between them.

    created ─► sending ─► succeeded | declined | rejected                       final
                 │  ▲
                 │  └── transient (sent again if asked) ─► not_charged          final
                 ├────► pending | requires_action (looked up) ─► one of the above
                 └────► unknown (repeated under its key, or looked up) ─► one of the above

Each function takes a payment as it was and returns it as it becomes; the repository stores the
change only if nobody moved the payment meanwhile. Speaking to the provider is
services/charging.py's. Source: docs/decisions/0008-charge-protocol.md.
"""

from datetime import datetime, timedelta
from typing import Final, Literal, cast
from uuid import UUID

import msgspec
from msgspec.structs import replace

from abaxus_core.domain.invoices import PaymentStatus

PaymentState = Literal[
    "created",
    "sending",
    "transient",
    "unknown",
    "pending",
    "requires_action",
    "needs_operator",
    "succeeded",
    "declined",
    "rejected",
    "not_charged",
]
ResultStatus = Literal[
    "succeeded", "pending", "requires_action", "declined", "rejected", "transient", "unknown"
]
RetryClass = Literal["later", "customer_action", "new_instrument", "never", "fix_request"]

FINAL: Final[frozenset[PaymentState]] = frozenset(
    {"succeeded", "declined", "rejected", "not_charged"}
)
SENDABLE: Final[frozenset[PaymentState]] = frozenset({"created", "transient", "unknown"})
ASKABLE: Final[frozenset[PaymentState]] = frozenset({"unknown", "pending", "requires_action"})

# Longer than a provider call may take, so that a lease which has run out means a dead sender.
LEASE: Final = timedelta(seconds=90)
CREATED_GRACE: Final = timedelta(seconds=30)
# After this, an attempt that never reached the provider is closed if nobody asks to charge again.
IDLE_MAX: Final = timedelta(minutes=10)
CHECK_DELAYS: Final = (
    timedelta(seconds=2),
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
)
CHECKS_MAX: Final = 36
# A replay is given up this much before the provider forgets the key: clocks differ.
TTL_USED_PERCENT: Final = 95


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. `checks` counts how often its outcome was looked up or replayed since.

    `maybe_executed`: some send of it may have reached the provider.
    """

    id: str
    invoice_id: str
    provider: str
    account_fingerprint: str
    attempt_id: UUID
    idempotency_key: UUID
    amount_minor: int
    currency: str
    state: PaymentState = "created"
    sends: int = 0
    maybe_executed: bool = False
    first_sent_at: datetime | None = None
    last_sent_at: datetime | None = None
    lease_id: UUID | None = None
    leased_until: datetime | None = None
    next_check_at: datetime | None = None
    checks: int = 0
    provider_payment_id: str | None = None
    code: str | None = None
    provider_code: str | None = None
    retry: RetryClass | None = None
    created_at: datetime
    settled_at: datetime | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider's answer proved of an attempt."""

    status: ResultStatus
    provider_payment_id: str | None = None
    code: str | None = None
    provider_code: str | None = None
    retry: RetryClass | None = None


def begin_send(payment: Payment, *, lease_id: UUID, now: datetime) -> Payment:
    """The payment on its way: leased, and from now on taken to have been executed, perhaps."""
    assert payment.state in SENDABLE, f"a payment that is {payment.state} is not sent"
    return replace(
        payment,
        state="sending",
        sends=payment.sends + 1,
        maybe_executed=True,
        first_sent_at=payment.first_sent_at or now,
        last_sent_at=now,
        lease_id=lease_id,
        leased_until=now + LEASE,
        next_check_at=now + LEASE,
    )


def conclude(payment: Payment, result: Result, *, executed_before: bool, now: datetime) -> Payment:
    """The payment after an answer. `executed_before`: an earlier send may have been executed.

    `transient` proves only that this send was not, so it undoes `maybe_executed` only where there
    was no earlier one.
    """
    state = _state_after(result.status, executed_before=executed_before)
    return replace(
        payment,
        state=state,
        maybe_executed=executed_before if result.status == "transient" else payment.maybe_executed,
        lease_id=None,
        leased_until=None,
        next_check_at=_next_check_at(state, payment.checks, now),
        provider_payment_id=result.provider_payment_id or payment.provider_payment_id,
        code=result.code,
        provider_code=result.provider_code,
        retry=result.retry,
        settled_at=now if state in FINAL else None,
    )


def take_over(payment: Payment, *, now: datetime) -> Payment:
    """The payment of a sender that died: its lease has run out, its outcome is unknown."""
    assert payment.state == "sending", "only a lease can be taken over"
    return replace(
        payment, state="unknown", lease_id=None, leased_until=None, next_check_at=now, code=None
    )


def count_check(payment: Payment, *, now: datetime) -> Payment:
    """The payment with one more look-up begun, the next one due, or left to an operator."""
    assert payment.state in ASKABLE, f"nothing is looked up of a payment that is {payment.state}"
    if payment.checks >= CHECKS_MAX:
        return replace(payment, state="needs_operator", next_check_at=None)
    checks = payment.checks + 1
    return replace(payment, checks=checks, next_check_at=_next_check_at(payment.state, checks, now))


def close_unsent(payment: Payment, *, now: datetime) -> Payment:
    """The payment given up, known not to have moved money."""
    assert payment.state not in FINAL, "a settled payment stays as it is"
    return replace(
        payment,
        state="not_charged",
        lease_id=None,
        leased_until=None,
        next_check_at=None,
        settled_at=now,
    )


def may_replay(payment: Payment, *, ttl_s: int, now: datetime) -> bool:
    """Whether the provider surely still knows the key, so that repeating it charges once."""
    if payment.first_sent_at is None:
        return True
    return now < payment.first_sent_at + timedelta(seconds=ttl_s) * TTL_USED_PERCENT // 100


def invoice_payment_status(state: PaymentState) -> PaymentStatus:
    """How an attempt in this state shows on its invoice."""
    match state:
        case "created" | "sending" | "pending":
            return "processing"
        case "unknown" | "needs_operator":
            return "unknown"
        case "requires_action" | "succeeded":
            return state
        case _:
            return "failed"


def _state_after(status: ResultStatus, *, executed_before: bool) -> PaymentState:
    if status == "transient" and executed_before:
        return "unknown"
    return cast("PaymentState", status)


def _next_check_at(state: PaymentState, checks: int, now: datetime) -> datetime | None:
    if state in FINAL or state == "needs_operator":
        return None
    if state == "transient":
        return now + IDLE_MAX
    return now + CHECK_DELAYS[min(checks, len(CHECK_DELAYS) - 1)]
