"""What Adyen's answers prove. Whatever is not listed here, does not parse or names another payment
or amount is `unknown`.

Sources: docs.adyen.com/development-resources/api-idempotency, /response-handling,
/refusal-reasons and the OpenAPI document of Checkout v72, read 2026-08. An answer to a repeated
request is the stored one of the first send only if Adyen says so, by giving the key back.
"""

from typing import Final

import httpx
from msgspec.structs import replace

from abaxus_core.plugin.http import decoded
from abaxus_core.plugin.payments import Outcome, RefundOutcome
from abaxus_plugins.adyen import amounts, declines
from abaxus_plugins.adyen.wire import Modification, Payment, PaymentAnswer, Refund, Refused

KEY_HEADER: Final = "Idempotency-Key"
IN_PROGRESS: Final = "704"

_ACCEPTED: Final = frozenset({200, 201, 202})
_WRONG_REQUEST: Final = frozenset({400, 422})
_WRONG_CREDENTIALS: Final = frozenset({401, 403})
_PAYER_MUST_ACT: Final = frozenset(
    {"RedirectShopper", "IdentifyShopper", "ChallengeShopper", "PresentToShopper"}
)


def of_charge(answer: httpx.Response, asked: Payment, *, replay: bool) -> Outcome:
    """What became of a charge, from the answer to it."""
    stored = KEY_HEADER in answer.headers
    outcome = _of_charge(answer, asked, replay=replay)
    if replay and not stored and outcome.status in ("declined", "rejected"):
        outcome = replace(outcome, status="unknown", retry=None)
    return replace(
        outcome,
        http_status=answer.status_code,
        provider_request_id=answer.headers.get("pspReference"),
        replayed=stored if replay else None,
    )


def of_refund(answer: httpx.Response, asked: Refund, *, replay: bool) -> RefundOutcome:
    """What became of a refund: taken note of, at best."""
    if answer.status_code in _ACCEPTED:
        received = decoded(answer, Modification)
        if received is None or received.reference != asked.reference:
            return RefundOutcome(status="unknown")
        if received.status != "received" or received.amount not in (None, asked.amount):
            return RefundOutcome(status="unknown", provider_ref=received.psp_reference)
        return RefundOutcome(status="pending", provider_ref=received.psp_reference)
    error = _of_error(answer, replay=replay)
    status = error.status if error.status in ("rejected", "transient") else "unknown"
    if replay and KEY_HEADER not in answer.headers:
        status = "unknown"
    return RefundOutcome(status=status, code=error.code)


def of_cancellation(answer: httpx.Response) -> Outcome:
    """Adyen only takes note of a cancellation, so nothing is known of the payment yet."""
    received = decoded(answer, Modification) if answer.status_code in _ACCEPTED else None
    code = "cancellation_received" if received is not None else "cancellation_failed"
    return Outcome(status="unknown", code=code, http_status=answer.status_code)


def _of_charge(answer: httpx.Response, asked: Payment, *, replay: bool) -> Outcome:
    if answer.status_code not in _ACCEPTED:
        return _of_error(answer, replay=replay)
    payment = decoded(answer, PaymentAnswer)
    if payment is None:
        return Outcome(status="unknown", code="unreadable")
    if payment.merchant_reference not in (None, asked.reference):
        return Outcome(status="unknown", code="other_payment")
    return replace(
        _of_result(payment), provider_ref=payment.psp_reference, raw_status=payment.result_code
    )


def _of_result(payment: PaymentAnswer) -> Outcome:
    reason = payment.refusal_reason_code
    match payment.result_code:
        case "Authorised":
            return _authorised(payment)
        case "Refused" | "Cancelled":
            return Outcome(
                status="declined",
                code=declines.code_of(reason),
                provider_code=reason,
                retry=declines.retry_of(reason),
            )
        case "Error":
            return Outcome(
                status="declined", code="provider_error", provider_code=reason, retry="later"
            )
        case "Received" | "Pending":
            return Outcome(status="pending")
        case result if result in _PAYER_MUST_ACT:
            return Outcome(
                status="requires_action", code="authentication_required", retry="customer_action"
            )
        case "PartiallyAuthorised":
            return Outcome(status="unknown", code="partially_authorised")
        case _:
            return Outcome(status="unknown")


def _authorised(payment: PaymentAnswer) -> Outcome:
    """Final where the account captures by itself. Without an amount in the answer it is not proved
    how much was taken.
    """
    echoed = payment.amount
    amount = None if echoed is None else amounts.to_major(echoed.value, echoed.currency)
    if echoed is None or amount is None:
        return Outcome(status="unknown", code="no_amount")
    return Outcome(status="succeeded", echoed_amount=amount, echoed_currency=echoed.currency)


def _of_error(answer: httpx.Response, *, replay: bool) -> Outcome:
    """Nothing ran where Adyen promises so (`transient-error`) or found the request wrong."""
    refused = decoded(answer, Refused)
    if refused is None:
        return Outcome(status="unknown", code="unreadable")
    code = refused.error_code
    if code == IN_PROGRESS:
        return Outcome(status="unknown", code="in_progress", provider_code=code)
    if answer.headers.get("transient-error", "").lower() == "true":
        return Outcome(
            status="unknown" if replay else "transient", code="unavailable", provider_code=code
        )
    # Credentials are looked at before the key is: of a repeated request that proves nothing.
    refusals = _WRONG_REQUEST if replay else _WRONG_REQUEST | _WRONG_CREDENTIALS
    if answer.status_code in refusals:
        return Outcome(
            status="rejected",
            code=f"{refused.error_type}_error",
            provider_code=code,
            retry="fix_request",
            detail=f"{refused.error_type} error {code}",
        )
    return Outcome(status="unknown", provider_code=code)
