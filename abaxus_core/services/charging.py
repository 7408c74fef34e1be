"""Charging an invoice, once, and finding out what became of a charge whose answer was lost.

No provider is called in a transaction, no attempt is repeated but under its own key and bytes, no
second attempt begins while one is unsettled (docs/decisions/0008-charge-protocol.md). The steps
themselves are attempts.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
import structlog

from abaxus_core.domain import payments as domain
from abaxus_core.domain.payments import Payment
from abaxus_core.errors import InvalidInput, PaymentDeclined, ProviderUnavailable
from abaxus_core.plugin.payments import NotFound, Outcome, PaymentProvider
from abaxus_core.repositories import payments
from abaxus_core.services import attempts, charge_requests, provider_calls
from abaxus_core.services.attempts import Attempt
from abaxus_core.services.work import SYSTEM, Context, Work, perform

SWEPT_AT_ONCE_MAX: Final = 500
# The queue counts in the database's time, we in ours: a job may come a little early.
EARLY_MAX: Final = timedelta(seconds=5)
# So often is a lost answer asked for by repeating the request, before it is looked up instead.
REPLAYS_FIRST: Final = 3

_log = structlog.get_logger("abaxus.charging")

Way = Literal["send", "fetch", "find", "wait"]


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
    attempt, InvalidInput (NO_PAYMENT_METHOD, PROVIDER_NOT_ENABLED).
    """

    async def begin(work: Work) -> Attempt | None:
        return await attempts.begin(context, work, invoice_id)

    attempt = await perform(context, actor, begin)
    if attempt is None:
        return ChargeResult(payment=None)
    payment = await attempts.send(context, actor, attempt)
    if payment is None:
        raise attempts.in_progress(attempt.payment)
    _raise_refusal(payment)
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
            await attempts.schedule(work, payment)
        return len(due)

    return await perform(context, SYSTEM, step)


async def _claim(context: Context, work: Work, payment_id: str) -> _Errand | None:
    """What to do about the payment, after storing that it is being done."""
    stored = await payments.get(work.conn, payment_id)
    if stored is None or not _is_due(stored, work.now):
        return None
    await payments.lock_bill(work.conn, stored.invoice_id)
    provider = _usable(context.payment_providers, stored)
    if stored.state == "transient" or (stored.state == "created" and provider is None):
        await attempts.close_unsent(work, stored)
        return None
    payment = stored
    if stored.state == "sending":
        payment = domain.take_over(stored, now=work.now)
    way = _way(payment, provider, work.now)
    # A send stores itself, in its own T2, and counts as the check.
    after = payment if way == "send" else domain.count_check(payment, now=work.now)
    if after is not stored:
        if not await payments.compare_and_set(work.conn, stored, after):
            return None
        await attempts.show(work, stored, after)
    if way == "wait" or provider is None or after.state == "needs_operator":
        return None
    request = await payments.request(work.conn, payment_id)
    return _Errand(way=way, attempt=Attempt(payment=after, provider=provider, request=request))


def _is_due(payment: Payment, now: datetime) -> bool:
    if payment.state == "sending" and payment.leased_until is not None:
        return payment.leased_until <= now
    return payment.next_check_at is not None and payment.next_check_at <= now + EARLY_MAX


def _usable(providers: Mapping[str, PaymentProvider], payment: Payment) -> PaymentProvider | None:
    """The payment's provider, if it is enabled and still the same account."""
    provider = providers.get(payment.provider)
    if provider is None or charge_requests.fingerprint(provider) != payment.account_fingerprint:
        _log.error("payment.provider_gone", payment_id=payment.id, provider=payment.provider)
        return None
    return provider


def _way(payment: Payment, provider: PaymentProvider | None, now: datetime) -> Way:
    """How to find out: by name, by repeating while that is safe, by looking; else by waiting."""
    if provider is None or payment.checks >= domain.CHECKS_MAX:
        return "wait"
    can = provider.capabilities
    if payment.state == "created":
        return "send"
    if can.fetch and payment.provider_payment_id is not None:
        return "fetch"
    if payment.state == "unknown" and domain.may_replay(
        payment, ttl_s=can.idempotency_ttl_s, now=now
    ):
        return "send" if payment.checks < REPLAYS_FIRST or not can.find else "find"
    return "find" if can.find else "wait"


async def _learn(context: Context, payment: Payment, news: Outcome | NotFound | None) -> None:
    """Store what a look-up brought, unless it is nothing new."""

    async def store(work: Work) -> None:
        if isinstance(news, Outcome) and news.status != payment.state:
            await attempts.settle(work, payment, news, executed_before=True)
        elif isinstance(news, NotFound):
            await attempts.close_unsent(work, payment)

    if news is not None:
        await perform(context, SYSTEM, store)


def _raise_refusal(payment: Payment) -> None:
    """Raise the error that an attempt's outcome is, for who asked."""
    details = {
        "provider": payment.provider,
        "code": payment.code,
        "provider_code": payment.provider_code,
        "retry": payment.retry,
    }
    match payment.state:
        case "declined":
            raise PaymentDeclined(
                f"the payment was declined: {payment.code or 'no reason given'}", details=details
            )
        case "rejected":
            raise InvalidInput(
                "the provider rejected the request; nothing was charged",
                code="PAYMENT_REJECTED",
                details=details,
            )
        case "transient":
            raise ProviderUnavailable(
                "the payment provider could not be reached; nothing was sent, try again",
                details=details,
            )
