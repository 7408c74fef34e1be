"""The errors that a charge ends in when it does not end in money."""

from datetime import datetime, timedelta

from abaxus_core.domain.payments import Payment
from abaxus_core.errors import Conflict, InvalidInput, PaymentDeclined, ProviderUnavailable


def raise_refusal(payment: Payment, now: datetime) -> None:
    """Raise the error that an attempt's outcome is, for who asked."""
    match payment.state:
        case "declined":
            raise PaymentDeclined(
                f"the payment was declined: {payment.code or 'no reason given'}",
                details=_details(payment),
            )
        case "rejected":
            raise InvalidInput(
                "the provider rejected the request; nothing was charged",
                code="PAYMENT_REJECTED",
                details=_details(payment),
            )
        case "transient":
            raise unavailable(payment, now)


def unavailable(payment: Payment, now: datetime) -> ProviderUnavailable:
    """The refusal that a `transient` payment is, with the time its provider asks for."""
    patience = payment.retry_at - now if payment.retry_at else None
    return ProviderUnavailable(
        "the payment provider could not take the request; nothing was charged, try again",
        retry_after_s=None if patience is None else max(1, -(-patience // timedelta(seconds=1))),
        details=_details(payment),
    )


def _details(payment: Payment) -> dict[str, object]:
    """What an error says of the attempt that it is."""
    return {
        "provider": payment.provider,
        "code": payment.code,
        "provider_code": payment.provider_code,
        "retry": payment.retry,
    }


def in_progress(live: Payment) -> Conflict:
    """The refusal to charge beside a live attempt."""
    return Conflict(
        f"an attempt to collect this invoice is {live.state} and must be settled first",
        code="CHARGE_IN_PROGRESS",
        details={"payment_id": live.id, "status": live.state},
    )
