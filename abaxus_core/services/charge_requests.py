"""From an invoice and its customer to a request a provider may see: who is asked, for what.

Pure but for the plugin's `prepare`, which is pure itself. Everything refused here is refused
before an attempt exists.
"""

import hashlib
from typing import Final
from uuid import UUID

import structlog

from abaxus_core.domain.card_numbers import looks_like_card_number
from abaxus_core.domain.money import from_minor
from abaxus_core.domain.payments import AMOUNT_MISMATCH, Payment, Reason
from abaxus_core.errors import IllegalTransition, InvalidInput, ProviderUnavailable
from abaxus_core.plugin.payments import (
    ChargeRequest,
    FrozenRequest,
    InvalidRequest,
    PaymentProvider,
)
from abaxus_core.repositories.payments import Bill
from abaxus_core.services.work import Context

TEST_MODE: Final = "test"
FINGERPRINT_LENGTH: Final = 32

_log = structlog.get_logger("abaxus.charging")


def check_collectable(bill: Bill) -> None:
    """Raise INVALID_STATE unless the invoice is waiting to be paid."""
    if bill.status != "issued":
        raise IllegalTransition(f"the invoice is {bill.status}; only an issued one is charged")


def provider_of(context: Context, bill: Bill) -> tuple[str, PaymentProvider]:
    """The customer's provider, else the default; in test mode always what stands in for all.

    Raises InvalidInput (PROVIDER_NOT_ENABLED).
    """
    chosen = None if context.mode == TEST_MODE else bill.billing_provider
    name = chosen or context.default_payment_provider
    if name is None:
        raise InvalidInput(
            "the customer names no payment provider and no default is configured",
            code="PROVIDER_NOT_ENABLED",
            field="billing.provider",
        )
    provider = context.payment_providers.get(name)
    if provider is None:
        raise InvalidInput(
            f"the payment provider {name!r} is not enabled",
            code="PROVIDER_NOT_ENABLED",
            field="billing.provider",
        )
    return name, provider


def freeze(name: str, provider: PaymentProvider, bill: Bill, attempt_id: UUID) -> FrozenRequest:
    """The request to send: amount, currency and the provider's own ids, nothing else.

    Raises InvalidInput (NO_PAYMENT_METHOD, PAYMENT_REJECTED), or ProviderUnavailable when the
    plugin fails.
    """
    request = _charge_request(bill, attempt_id)
    currencies = provider.capabilities.currencies
    if currencies is not None and request.currency not in currencies:
        raise _rejected(name, "currency_not_supported", f"{name} takes no {request.currency}")
    try:
        return provider.prepare(request)
    except InvalidRequest as refused:
        raise _rejected(name, refused.code, refused.message) from refused
    except Exception as error:
        # A stranger's code failed before anything could be sent.
        _log.exception("provider.prepare_failed", provider=name)
        raise ProviderUnavailable(
            f"the payment provider {name!r} could not prepare the charge; nothing was sent"
        ) from error


def fingerprint(provider: PaymentProvider) -> str:
    """Which account an attempt is made under, as its row keeps it."""
    return hashlib.sha256(provider.account.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def trouble(payment: Payment, provider: PaymentProvider | None) -> Reason | None:
    """Why the provider cannot be asked: what another account says of a key or id means nothing."""
    if provider is None:
        return "provider_not_enabled"
    if fingerprint(provider) != payment.account_fingerprint:
        return "account_changed"
    return "amount_mismatch" if payment.code == AMOUNT_MISMATCH else None


def _rejected(name: str, code: str, message: str) -> InvalidInput:
    return InvalidInput(message, code="PAYMENT_REJECTED", details={"provider": name, "code": code})


def _charge_request(bill: Bill, attempt_id: UUID) -> ChargeRequest:
    customer_ref, method_ref = bill.provider_customer_id, bill.provider_payment_method
    if customer_ref is None or method_ref is None:
        raise InvalidInput(
            "the customer has no payment method", code="NO_PAYMENT_METHOD", field="payment_method"
        )
    for field, reference in (
        ("provider_customer_id", customer_ref),
        ("provider_payment_method", method_ref),
    ):
        if looks_like_card_number(reference):
            raise InvalidInput(
                "looks like a card number; it must be the provider's own id",
                field=f"payment_method.{field}",
            )
    return ChargeRequest(
        attempt_id=attempt_id,
        amount=from_minor(bill.total_minor, bill.currency),
        currency=bill.currency.upper(),
        customer_ref=customer_ref,
        payment_method_ref=method_ref,
    )
