"""What Mollie's answers prove. Whatever is not listed here, does not parse or is of another
attempt, profile or mode is `unknown`.

Sources, read 2026-11: docs.mollie.com/reference/handling-errors, /reference/api-idempotency,
/docs/handling-payment-status; the reasons of failures are those of /reference/get-payment, and what
would help is our reading of them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import httpx
from msgspec.structs import replace

from abaxus_core.plugin.http import decoded
from abaxus_core.plugin.payments import Outcome, Retry
from abaxus_mollie.wire import Asked, Payment, Refused

_REASONS: Final[Mapping[str, tuple[str, Retry]]] = MappingProxyType(
    {
        "insufficient_funds": ("insufficient_funds", "later"),
        "refused_by_issuer": ("do_not_honor", "later"),
        "card_declined": ("declined", "later"),
        "card_expired": ("expired_card", "new_instrument"),
        "inactive_card": ("inactive_card", "new_instrument"),
        "invalid_card_number": ("invalid_number", "new_instrument"),
        "invalid_card_type": ("card_not_supported", "new_instrument"),
        "invalid_card_holder_name": ("invalid_holder", "new_instrument"),
        "invalid_cvv": ("invalid_cvc", "new_instrument"),
        "authentication_required": ("authentication_required", "customer_action"),
        "authentication_failed": ("authentication_failed", "customer_action"),
        "authentication_abandoned": ("authentication_failed", "customer_action"),
        "authentication_unavailable_acs": ("authentication_failed", "later"),
        "possible_fraud": ("fraudulent", "never"),
    }
)


def of_charge(
    answer: httpx.Response, asked: Asked, *, profile: str, mode: str, replay: bool
) -> Outcome:
    """What became of a charge, from the answer to it."""
    return replace(
        _of_charge(answer, asked, profile=profile, mode=mode, replay=replay),
        http_status=answer.status_code,
        replayed=answer.headers.get("Idempotent-Replayed") == "true",
    )


def of_payment(payment: Payment, asked: Asked, *, profile: str, mode: str) -> Outcome:
    """What a payment says of the attempt it was made for."""
    if payment.attempt_id != asked.metadata.abaxus_attempt_id:
        return Outcome(status="unknown", code="other_payment")
    if (payment.profileId, payment.mode) != (profile, mode):
        return Outcome(status="unknown", code="other_profile", provider_ref=payment.id)
    match payment.status:
        case "paid":
            return Outcome(
                status="succeeded",
                provider_ref=payment.id,
                echoed_amount=payment.amount.value,
                echoed_currency=payment.amount.currency,
                raw_status=payment.status,
            )
        case "open" | "pending":
            return Outcome(status="pending", provider_ref=payment.id, raw_status=payment.status)
        case "failed" | "canceled" | "expired":
            return _declined(payment)
        case _:
            return Outcome(status="unknown", provider_ref=payment.id, raw_status=payment.status)


def _of_charge(
    answer: httpx.Response, asked: Asked, *, profile: str, mode: str, replay: bool
) -> Outcome:
    if answer.status_code == httpx.codes.CREATED:
        payment = decoded(answer, Payment)
        if payment is None:
            return Outcome(status="unknown", code="unreadable")
        return of_payment(payment, asked, profile=profile, mode=mode)
    refused = decoded(answer, Refused)
    if refused is None or refused.status != answer.status_code:
        return Outcome(status="unknown", code="unreadable")
    return _of_refusal(refused, replay=replay)


def _of_refusal(refused: Refused, *, replay: bool) -> Outcome:
    """Mollie does not say whether it looks the key up first, so of a repeat nothing is proved."""
    match refused.status:
        case 401 | 403 if not replay:
            return Outcome(status="rejected", code="credentials", detail=refused.title[:100])
        case 404 | 410 | 422 if not replay:
            field = f"{refused.title}: {refused.field}" if refused.field else refused.title
            return Outcome(
                status="rejected", code="invalid_request", retry="fix_request", detail=field[:100]
            )
        case 429 if not replay:
            return Outcome(status="transient", code="rate_limit")
        case _:  # 400 a key of another request, 409 one that is under way, 5xx
            return Outcome(status="unknown", detail=refused.title[:100])


def _declined(payment: Payment) -> Outcome:
    reason = payment.details.failureReason if payment.details else None
    code, retry = _REASONS.get(reason or "", ("declined", "later"))
    return Outcome(
        status="declined",
        provider_ref=payment.id,
        code=code if payment.status == "failed" else payment.status,
        provider_code=reason,
        retry=retry,
        raw_status=payment.status,
    )
