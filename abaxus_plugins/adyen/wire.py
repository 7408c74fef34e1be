"""What goes to Adyen and comes back, as far as we read it.

Source: Adyen's OpenAPI document of Checkout v72. Requests and answers are JSON.
"""

from typing import Final, TypeVar

import msgspec

from abaxus_core.plugin.payments import FrozenRequest

VERSION: Final = "v72"
PAYMENTS: Final = f"/{VERSION}/payments"
CANCELS: Final = f"/{VERSION}/cancels"
METHODS: Final = f"/{VERSION}/paymentMethods"
FIELDS: Final = frozenset(
    {
        "amount.currency",
        "amount.value",
        "merchantAccount",
        "reference",
        "paymentMethod.type",
        "paymentMethod.storedPaymentMethodId",
        "shopperReference",
        "shopperInteraction",
        "recurringProcessingModel",
        "returnUrl",
        "paymentReference",
    }
)
"""All that is sent, by name."""
HEADERS: Final = frozenset({"x-api-key", "content-type", "idempotency-key"})

T = TypeVar("T")


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    currency: str
    value: int


class StoredMethod(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    type: str = "scheme"
    stored_payment_method_id: str


class Payment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of POST /payments. `reference` is the attempt's id in hex: a dash would make it
    several references.
    """

    amount: Amount
    merchant_account: str
    reference: str
    payment_method: StoredMethod
    shopper_reference: str
    shopper_interaction: str = "ContAuth"
    recurring_processing_model: str
    return_url: str


class Refund(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of POST /payments/{pspReference}/refunds."""

    amount: Amount
    merchant_account: str
    reference: str


class PaymentAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to a payment; `resultCode` is an open enumeration."""

    result_code: str
    psp_reference: str | None = None
    merchant_reference: str | None = None
    amount: Amount | None = None
    refusal_reason_code: str | None = None


class Modification(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to a refund or a cancellation; the result itself comes by webhook or report."""

    status: str
    psp_reference: str
    reference: str | None = None
    amount: Amount | None = None


class Methods(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to POST /paymentMethods; which methods there are is not read."""

    payment_methods: list[object] = []


class Refused(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of an error. Its message may name payer data and is not read."""

    error_type: str
    error_code: str | None = None
    psp_reference: str | None = None


def frozen(path: str, body: msgspec.Struct | dict[str, str]) -> FrozenRequest:
    headers = (("Content-Type", "application/json"),)
    return FrozenRequest(method="POST", path=path, headers=headers, body=msgspec.json.encode(body))


def asked(request: FrozenRequest, kind: type[T]) -> T:
    """What a frozen request says; the bytes are our own."""
    return msgspec.json.decode(request.body, type=kind)
