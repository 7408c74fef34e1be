"""What Stripe's answers prove. Whatever is not listed here, does not parse or names another
payment, amount or mode is `unknown`.

Sources: docs.stripe.com/api/errors, /api/idempotent_requests, /error-low-level,
/payments/payment-intents/verifying-status, read 2026-07. Credentials, rate limits and locks are
decided before Stripe looks a key up, so of a repeated request they prove nothing.
"""

from typing import Literal

import httpx
from msgspec.structs import replace

from abaxus_core.plugin.http import decoded, retry_after_s
from abaxus_core.plugin.payments import Outcome, RefundOutcome
from abaxus_plugins.stripe import amounts, declines, wire
from abaxus_plugins.stripe.wire import Asked, Failure, Intent, Refund

Gate = Literal["rejected", "transient", "unknown"]


def of_charge(answer: httpx.Response, asked: Asked, *, live: bool, replay: bool) -> Outcome:
    """What became of a charge, from the answer to it."""
    return replace(
        _of_charge(answer, asked, live=live, replay=replay),
        http_status=answer.status_code,
        provider_request_id=answer.headers.get("Request-Id"),
        replayed=answer.headers.get("Idempotent-Replayed") == "true",
        retry_after_s=retry_after_s(answer),
    )


def of_intent(intent: Intent, asked: Asked, *, live: bool) -> Outcome:
    """What an intent says of the attempt it was made for."""
    if (intent.metadata or {}).get("abaxus_attempt_id") != asked.id:
        return Outcome(status="unknown", code="other_payment")
    if intent.livemode is not live:
        return Outcome(status="unknown", code="other_mode", provider_ref=intent.id)
    match intent.status:
        case "succeeded":
            return _succeeded(intent)
        case "processing":
            return Outcome(status="pending", provider_ref=intent.id, raw_status=intent.status)
        case "requires_action":
            return _requires_action(intent, intent.status)
        case "requires_payment_method" if intent.last_payment_error is not None:
            return _refused(intent.last_payment_error, intent)
        case "canceled":
            return _canceled(intent)
        case _:
            return Outcome(status="unknown", provider_ref=intent.id, raw_status=intent.status)


def of_cancellation(answer: httpx.Response, asked: Asked, *, live: bool) -> Outcome:
    """What the payment is after a cancellation; one that came too late names the intent, too."""
    if answer.status_code == httpx.codes.OK:
        intent = decoded(answer, Intent)
    else:
        refused = decoded(answer, wire.Refused)
        intent = refused.error.payment_intent if refused else None
    if intent is None:
        return Outcome(status="unknown", http_status=answer.status_code)
    return of_intent(intent, asked, live=live)


def of_refund(answer: httpx.Response, asked: Asked, *, replay: bool) -> RefundOutcome:
    """What became of a refund, from the answer to it."""
    if answer.status_code == httpx.codes.OK:
        refund = decoded(answer, Refund)
        return _of_refund(refund, asked) if refund else RefundOutcome(status="unknown")
    refused = decoded(answer, wire.Refused)
    if refused is None:
        return RefundOutcome(status="unknown")
    return RefundOutcome(
        status=_gate(answer, refused.error, replay=replay), code=_code(refused.error)
    )


def _of_charge(answer: httpx.Response, asked: Asked, *, live: bool, replay: bool) -> Outcome:
    if answer.status_code == httpx.codes.OK:
        intent = decoded(answer, Intent)
        if intent is None:
            return Outcome(status="unknown", code="unreadable")
        return of_intent(intent, asked, live=live)
    refused = decoded(answer, wire.Refused)
    if refused is None:
        return Outcome(status="unknown", code="unreadable")
    failure, intent = refused.error, refused.error.payment_intent
    if answer.status_code == httpx.codes.PAYMENT_REQUIRED and failure.type == "card_error":
        return _declined(failure, intent, asked, live=live)
    if intent is not None:  # something ran after all: it is looked up by its name
        return Outcome(status="unknown", provider_ref=intent.id, provider_code=failure.code)
    return Outcome(
        status=_gate(answer, failure, replay=replay),
        code=_code(failure),
        provider_code=failure.code,
        retry="fix_request" if failure.type == "invalid_request_error" else None,
        detail=f"{failure.type} of {failure.param}" if failure.param else failure.type,
    )


def _gate(answer: httpx.Response, failure: Failure, *, replay: bool) -> Gate:
    """What an answer without a payment proves: that nothing ran, or nothing."""
    match answer.status_code, failure.type, failure.code:
        case 400 | 404, "invalid_request_error", _:
            return "rejected"
        case 401 | 403, _, _:
            return "unknown" if replay else "rejected"
        case (429, _, "rate_limit") | (409 | 429, _, "lock_timeout"):
            return "unknown" if replay else "transient"
        case _:
            return "unknown"


def _declined(failure: Failure, intent: Intent | None, asked: Asked, *, live: bool) -> Outcome:
    """A card error is believed, unless the intent beside it says otherwise."""
    if intent is None:
        return _refused(failure, None)
    seen = of_intent(replace(intent, last_payment_error=failure), asked, live=live)
    if seen.status in ("declined", "requires_action"):
        return seen
    return Outcome(status="unknown", provider_ref=seen.provider_ref, raw_status=intent.status)


def _refused(failure: Failure, intent: Intent | None) -> Outcome:
    reason = failure.reason
    if not declines.AUTHENTICATION.isdisjoint({failure.code, failure.decline_code}):
        return _requires_action(intent, reason)
    return Outcome(
        status="declined",
        provider_ref=intent.id if intent else None,
        code=declines.code_of(reason),
        provider_code=reason,
        retry=declines.retry_of(reason, failure.advice_code),
        raw_status=intent.status if intent else None,
    )


def _requires_action(intent: Intent | None, reason: str | None) -> Outcome:
    return Outcome(
        status="requires_action",
        provider_ref=intent.id if intent else None,
        code="authentication_required",
        provider_code=reason,
        retry="customer_action",
        raw_status=intent.status if intent else None,
    )


def _succeeded(intent: Intent) -> Outcome:
    taken = intent.amount if intent.amount_received is None else intent.amount_received
    currency = intent.currency.upper()
    return Outcome(
        status="succeeded",
        provider_ref=intent.id,
        echoed_amount=amounts.to_major(taken, currency),
        echoed_currency=currency,
        raw_status=intent.status,
    )


def _canceled(intent: Intent) -> Outcome:
    """Ended without money; what had gone wrong before says what would help."""
    failure = intent.last_payment_error or Failure()
    return Outcome(
        status="declined",
        provider_ref=intent.id,
        code="canceled" if failure.reason is None else declines.code_of(failure.reason),
        provider_code=failure.reason,
        retry=declines.retry_of(failure.reason, failure.advice_code),
        raw_status=intent.status,
    )


def _of_refund(refund: Refund, asked: Asked) -> RefundOutcome:
    same = (refund.metadata or {}).get("abaxus_refund_id") == asked.id
    if not same or refund.amount != asked.amount:
        return RefundOutcome(status="unknown", provider_ref=refund.id, code="other_refund")
    match refund.status:
        case "succeeded":
            return RefundOutcome(status="succeeded", provider_ref=refund.id)
        case "pending" | "requires_action":
            return RefundOutcome(status="pending", provider_ref=refund.id)
        case "failed" | "canceled":
            code = refund.failure_reason or refund.status
            return RefundOutcome(status="rejected", provider_ref=refund.id, code=code)
        case _:
            return RefundOutcome(status="unknown", provider_ref=refund.id)


def _code(failure: Failure) -> str | None:
    return failure.code or ("key_reused" if failure.type == "idempotency_error" else None)
