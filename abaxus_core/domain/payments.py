"""Payments: the states of one attempt to collect an invoice, and what moves it between them.

    created ─► sending ─► succeeded | declined | rejected                       final
                 │  ▲
                 │  └── transient (sent again if asked) ─► not_charged          final
                 ├────► pending | requires_action (looked up) ─► one of the above
                 └────► unknown (repeated under its key, or looked up) ─► one of the above
                            └─► needs_operator (nothing is left to ask) ─► what a person says

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
Decision = Literal["succeeded", "declined", "not_charged", "look_again"]
Reason = Literal[
    "account_changed", "provider_not_enabled", "nothing_left_to_ask", "amount_mismatch"
]

FINAL: Final[frozenset[PaymentState]] = frozenset(
    {"succeeded", "declined", "rejected", "not_charged"}
)
SENDABLE: Final[frozenset[PaymentState]] = frozenset({"created", "transient", "unknown"})
ASKABLE: Final[frozenset[PaymentState]] = frozenset({"unknown", "pending", "requires_action"})
# What an operator may decide: nobody is being asked about it, or nobody knows.
DECIDABLE: Final[frozenset[PaymentState]] = frozenset({"unknown", "needs_operator"})
# More was taken than proves anything: asking again brings the same.
AMOUNT_MISMATCH: Final = "amount_mismatch"

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
# A provider that asks for more patience than this is asked all the same.
RETRY_AFTER_MAX: Final = timedelta(hours=1)
# A replay is given up this much before the provider forgets the key: clocks differ.
TTL_USED_PERCENT: Final = 95


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. `checks` counts how often its outcome was looked up or replayed since.

    `maybe_executed`: some send of it may have reached the provider. `retry_at`: before then the
    provider wants to hear no more of it.
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
    retry_at: datetime | None = None
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
    retry_after_s: int | None = None


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
    retry_at = None if state in FINAL else _retry_at(result.retry_after_s, now)
    return replace(
        payment,
        state=state,
        maybe_executed=executed_before if result.status == "transient" else payment.maybe_executed,
        lease_id=None,
        leased_until=None,
        next_check_at=_next_check_at(state, payment.checks, now, retry_at),
        retry_at=retry_at,
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
    """The payment with one more look-up begun, and the next one due."""
    assert payment.state in ASKABLE, f"nothing is looked up of a payment that is {payment.state}"
    assert payment.checks < CHECKS_MAX, "look-ups end with an operator"
    checks = payment.checks + 1
    next_check_at = _next_check_at(payment.state, checks, now, None)
    return replace(payment, checks=checks, next_check_at=next_check_at)


def hand_over(payment: Payment, reason: Reason) -> Payment:
    """The payment left to an operator, still live: nothing gives up by charging again."""
    assert payment.state in ASKABLE, f"a payment that is {payment.state} needs no operator"
    return replace(payment, state="needs_operator", code=reason, next_check_at=None, retry_at=None)


def decide(payment: Payment, decision: Decision, *, now: datetime) -> Payment:
    """The payment as an operator found it to be; `look_again` has it asked about once more."""
    assert payment.state in DECIDABLE, f"a payment that is {payment.state} is not decided by hand"
    undecided = replace(payment, code=None, next_check_at=None, retry_at=None)
    if decision == "look_again":
        # One more check, so that whoever read it before comes too late.
        checks = payment.checks + 1
        return replace(undecided, state="unknown", checks=checks, next_check_at=now)
    return replace(undecided, state=decision, settled_at=now)


def close_unsent(payment: Payment, *, now: datetime) -> Payment:
    """The payment given up, known not to have moved money."""
    assert payment.state not in FINAL, "a settled payment stays as it is"
    return replace(
        payment,
        state="not_charged",
        lease_id=None,
        leased_until=None,
        next_check_at=None,
        retry_at=None,
        settled_at=now,
    )


def may_replay(payment: Payment, *, ttl_s: int, now: datetime) -> bool:
    """Whether the provider surely still knows the key, so that repeating it charges once."""
    if payment.first_sent_at is None:
        return True
    return now < payment.first_sent_at + timedelta(seconds=ttl_s) * TTL_USED_PERCENT // 100


def may_send(payment: Payment, *, ttl_s: int, now: datetime) -> bool:
    """Whether sending the payment can only be its first send, or a repetition of it."""
    return not payment.maybe_executed or may_replay(payment, ttl_s=ttl_s, now=now)


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


def _retry_at(retry_after_s: int | None, now: datetime) -> datetime | None:
    if retry_after_s is None or retry_after_s <= 0:
        return None
    most_s = RETRY_AFTER_MAX // timedelta(seconds=1)
    return now + timedelta(seconds=min(retry_after_s, most_s))


def _next_check_at(
    state: PaymentState, checks: int, now: datetime, retry_at: datetime | None
) -> datetime | None:
    """When to look again; never before `retry_at`, as the provider asked."""
    if state in FINAL or state == "needs_operator":
        return None
    if state == "transient":
        return (retry_at or now) + IDLE_MAX
    return max(now + CHECK_DELAYS[min(checks, len(CHECK_DELAYS) - 1)], retry_at or now)
