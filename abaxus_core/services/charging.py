"""Charging an invoice, once, and finding out what became of a charge whose answer was lost.

No provider is called in a transaction, no attempt is repeated but under its own key and bytes, no
second attempt begins while one is unsettled (docs/decisions/0008-charge-protocol.md). The steps
themselves are attempts.py's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from abaxus_core.domain import payments as domain
from abaxus_core.domain.payments import Payment
from abaxus_core.errors import ChargesPaused
from abaxus_core.plugin.payments import NotFound, Outcome, PaymentProvider
from abaxus_core.repositories import payments
from abaxus_core.services import attempts, charge_requests, consequences, provider_calls, refusals
from abaxus_core.services.attempts import Attempt
from abaxus_core.services.work import SYSTEM, Context, Work, perform

SWEPT_AT_ONCE_MAX: Final = 500
# The queue counts in the database's time, we in ours: a job may come a little early.
EARLY_MAX: Final = timedelta(seconds=5)
# So often is a lost answer asked for by repeating the request, before it is looked up instead.
REPLAYS_FIRST: Final = 3

Way = Literal["send", "fetch", "find"]


class ChargeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a charge that was not refused; `payment` is None when nothing was to pay."""

    payment: Payment | None

    @property
    def settled(self) -> bool:
        """Whether the invoice is paid; otherwise the payment's outcome is still to come."""
        return self.payment is None or self.payment.state == "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    """What to ask whom about a payment; the payment is as it was stored last."""

    way: Way
    attempt: Attempt


async def charge(context: Context, actor: str, invoice_id: str) -> ChargeResult:
    """Collect the invoice. The outcome is durable on return, and so it is when this raises:

    PaymentDeclined, InvalidInput (PAYMENT_REJECTED) and ProviderUnavailable are outcomes, after
    which another attempt may be made. Before an attempt: NotFound (INVOICE_NOT_FOUND),
    IllegalTransition when paid or archived, Conflict (CHARGE_IN_PROGRESS) beside an unsettled
    attempt, InvalidInput (NO_PAYMENT_METHOD, PROVIDER_NOT_ENABLED), and ChargesPaused.
    """
    if context.settings.charges_paused:
        raise ChargesPaused("charging is paused by the operators of this installation")

    async def begin(work: Work) -> Attempt | None:
        return await attempts.begin(context, work, invoice_id)

    attempt = await perform(context, actor, begin)
    if attempt is None:
        return ChargeResult(payment=None)
    payment = await attempts.send(context, actor, attempt)
    if payment is None:
        raise refusals.in_progress(attempt.payment)
    refusals.raise_refusal(payment, context.clock())
    return ChargeResult(payment=payment)


async def resolve(context: Context, payment_id: str) -> None:
    """Take the payment one step nearer to being settled, if it is due; else do nothing.

    Safe to run at any time, any number of times, side by side.
    """

    async def claim(work: Work) -> _Errand | None:
        return await _claim(context, work, payment_id)

    errand = await perform(context, SYSTEM, claim)
    match errand:
        case _Errand(way="send", attempt=attempt):
            counts = attempt.payment.state == "unknown"
            await attempts.send(context, SYSTEM, attempt, count_check=counts)
        case _Errand(way="fetch", attempt=attempt):
            await _learn(
                context,
                attempt.payment,
                await provider_calls.fetch(attempt.provider, attempt.payment, attempt.request),
            )
        case _Errand(way="find", attempt=attempt):
            await _learn(
                context,
                attempt.payment,
                await provider_calls.find(attempt.provider, attempt.payment, attempt.request),
            )


async def sweep(context: Context) -> int:
    """Have every attempt looked after whose time has come; how many there were.

    The net under everything else: whatever died where, its payment's row says when to look.
    """

    async def step(work: Work) -> int:
        due = await payments.due(work.conn, work.now, SWEPT_AT_ONCE_MAX)
        for payment in due:
            await consequences.schedule(work, payment)
        return len(due)

    return await perform(context, SYSTEM, step)


async def _claim(context: Context, work: Work, payment_id: str) -> _Errand | None:
    """What to do about the payment, after storing that it is being done."""
    stored = await payments.get(work.conn, payment_id)
    if stored is None or not _is_due(stored, work.now):
        return None
    await payments.lock_bill(work.conn, stored.invoice_id)
    provider = context.payment_providers.get(stored.provider)
    trouble = charge_requests.trouble(stored, provider)
    if stored.state == "transient" or (stored.state == "created" and trouble):
        await attempts.close_unsent(work, stored)
        return None
    payment = domain.take_over(stored, now=work.now) if stored.state == "sending" else stored
    way = _way(payment, provider, work.now) if provider and not trouble else None
    if way is None or provider is None:
        handed = domain.hand_over(payment, trouble or "nothing_left_to_ask")
        await attempts.move(work, stored, handed)
        return None
    if way == "send" and context.settings.charges_paused:
        return None
    # A send stores itself, in its own T2, and counts as the check.
    asked = payment if way == "send" else domain.count_check(payment, now=work.now)
    if asked is not stored and not await attempts.move(work, stored, asked):
        return None
    request = await payments.request(work.conn, payment_id)
    return _Errand(way=way, attempt=Attempt(payment=asked, provider=provider, request=request))


def _is_due(payment: Payment, now: datetime) -> bool:
    if payment.state == "sending" and payment.leased_until is not None:
        return payment.leased_until <= now
    return payment.next_check_at is not None and payment.next_check_at <= now + EARLY_MAX


def _way(payment: Payment, provider: PaymentProvider, now: datetime) -> Way | None:
    """How to find out: by name, by repeating while that is safe, by looking; None: not at all."""
    can = provider.capabilities
    if payment.state == "created":
        return "send"
    if payment.checks >= domain.CHECKS_MAX:
        return None
    if can.fetch and payment.provider_payment_id is not None:
        return "fetch"
    if payment.state == "unknown" and domain.may_replay(
        payment, ttl_s=can.idempotency_ttl_s, now=now
    ):
        return "send" if payment.checks < REPLAYS_FIRST or not can.find else "find"
    return "find" if can.find else None


async def _learn(context: Context, payment: Payment, news: Outcome | NotFound | None) -> None:
    """Store what a look-up brought, unless it is nothing new."""

    async def store(work: Work) -> None:
        if isinstance(news, Outcome) and _is_new(payment, news):
            await attempts.settle(work, payment, news, executed_before=True)
        elif isinstance(news, NotFound):
            await attempts.close_unsent(work, payment)

    if news is not None:
        await perform(context, SYSTEM, store)


def _is_new(payment: Payment, news: Outcome) -> bool:
    return news.status != payment.state or news.code == domain.AMOUNT_MISMATCH
