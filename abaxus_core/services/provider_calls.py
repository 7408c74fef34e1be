"""Calls into a payment provider's plugin: under a deadline, and believed only as far as proved.

Whatever a plugin raises, returns or forgets ends in an `Outcome`, and `unknown` is what is left
when nothing is proved. Who calls, and what follows, is charging.py's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from abaxus_core.domain.money import from_minor
from abaxus_core.domain.payments import AMOUNT_MISMATCH, Payment
from abaxus_core.plugin.payments import (
    CancellingProvider,
    FrozenRequest,
    NotFound,
    Outcome,
    PaymentProvider,
)

CALL_TIMEOUT_S: Final = 60
REFERENCE_LENGTH_MAX: Final = 255
CODE_LENGTH_MAX: Final = 100
DETAIL_LENGTH_MAX: Final = 500
NO_NEWS: Final = frozenset({"unknown", "transient", "rejected"})
NO_ANSWER: Final = frozenset({"timeout", "plugin_error"})

T = TypeVar("T")
_log = structlog.get_logger("abaxus.charging")


async def charge(
    provider: PaymentProvider, payment: Payment, request: FrozenRequest, *, replay: bool
) -> Outcome:
    """Send once; what it proves."""
    key = str(payment.idempotency_key)
    answer = await _bounded(lambda: provider.charge(request, key, replay=replay), payment)
    outcome = _believe(answer, payment)
    if replay and outcome.status == "transient":
        return replace(outcome, status="unknown")
    return outcome


async def fetch(
    provider: PaymentProvider, payment: Payment, request: FrozenRequest
) -> Outcome | None:
    """What the provider says of a payment it has named; None when that is no news."""
    reference = payment.provider_payment_id
    assert reference is not None, "only a named payment can be fetched"
    answer = await _bounded(lambda: provider.fetch(reference, request), payment)
    return _news(_believe(answer, payment))


async def find(
    provider: PaymentProvider, payment: Payment, request: FrozenRequest
) -> Outcome | NotFound | None:
    """What became of an attempt whose answer was lost; None when that is no news."""
    first, last = payment.first_sent_at, payment.last_sent_at
    assert first is not None, "what was never sent is not looked for"
    assert last is not None, "what was never sent is not looked for"
    attempt_id = payment.attempt_id
    answer = await _bounded(
        lambda: provider.find(attempt_id, request, sent_from=first, sent_until=last), payment
    )
    if isinstance(answer, NotFound):
        return answer if answer.conclusive is True else None
    return _news(_believe(answer, payment))


async def cancel(
    provider: CancellingProvider, payment: Payment, request: FrozenRequest, key: str
) -> Outcome:
    """What the payment is after a cancellation, as far as that is told."""
    reference = payment.provider_payment_id
    answer = await _bounded(lambda: provider.cancel(request, key, provider_ref=reference), payment)
    return _believe(answer, payment)


def told(outcome: object, payment: Payment) -> Outcome | None:
    """What an event of the provider's proves of a payment; None when that is no news."""
    return _news(_believe(outcome, payment))


async def _bounded(call: Callable[[], Awaitable[T]], payment: Payment) -> T | Outcome:
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await call()
    except TimeoutError:
        return Outcome(status="unknown", code="timeout")
    except Exception as error:  # noqa: BLE001 - a stranger's code: whatever it is, money may have moved
        _log.warning(
            "provider.raised",
            provider=payment.provider,
            payment_id=payment.id,
            error=type(error).__name__,
        )
        return Outcome(status="unknown", code="plugin_error", detail=type(error).__name__)


def _news(outcome: Outcome) -> Outcome | None:
    """That another amount was taken is news, although it leaves the outcome unknown."""
    if outcome.code == AMOUNT_MISMATCH:
        return outcome
    return None if outcome.status in NO_NEWS else outcome


def _believe(answer: object, payment: Payment) -> Outcome:
    """The outcome as far as it holds together; `unknown` with a code of ours where it does not."""
    outcome = _well_formed(answer)
    if outcome is None:
        return _doubt(payment, "invalid_outcome", None)
    if outcome.status in ("succeeded", "pending") and not outcome.provider_ref:
        return _doubt(payment, "no_reference", outcome)
    if outcome.status == "succeeded" and not _echoes(outcome, payment):
        return _doubt(payment, AMOUNT_MISMATCH, outcome)
    return outcome


def _echoes(outcome: Outcome, payment: Payment) -> bool:
    expected = from_minor(payment.amount_minor, payment.currency)
    echoed = outcome.echoed_amount
    currency = (outcome.echoed_currency or "").lower()
    return isinstance(echoed, Decimal) and echoed == expected and currency == payment.currency


def _doubt(payment: Payment, code: str, outcome: Outcome | None) -> Outcome:
    _log.error("provider.not_believed", provider=payment.provider, payment_id=payment.id, code=code)
    reference = outcome.provider_ref if outcome else None
    return Outcome(status="unknown", code=code, provider_ref=reference)


def _well_formed(answer: object) -> Outcome | None:
    """The same outcome, every field of its type and within its bounds; None if it is not."""
    if not isinstance(answer, Outcome):
        return None
    try:
        outcome = msgspec.json.decode(msgspec.json.encode(answer), type=Outcome)
    except (msgspec.ValidationError, TypeError, ValueError):
        return None
    reference = outcome.provider_ref or ""
    return replace(
        outcome,
        provider_ref=reference if 0 < len(reference) <= REFERENCE_LENGTH_MAX else None,
        code=_bounded_text(outcome.code, CODE_LENGTH_MAX),
        provider_code=_bounded_text(outcome.provider_code, CODE_LENGTH_MAX),
        raw_status=_bounded_text(outcome.raw_status, CODE_LENGTH_MAX),
        provider_request_id=_bounded_text(outcome.provider_request_id, REFERENCE_LENGTH_MAX),
        detail=_bounded_text(outcome.detail, DETAIL_LENGTH_MAX),
    )


def _bounded_text(text: str | None, length_max: int) -> str | None:
    """What PostgreSQL can hold of it."""
    return text.replace("\0", "")[:length_max] if text else None
