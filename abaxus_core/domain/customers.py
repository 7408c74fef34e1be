"""Customers: whom invoices go to, and how they pay."""

from datetime import datetime

import msgspec

from abaxus_core.errors import Conflict, InvalidInput

METADATA_MAX = 50


class PaymentMethod(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's own ids; both or neither, so the two live in one Struct."""

    provider_customer_id: str
    provider_payment_method: str


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """`customer_no` is the short number its events are stored under.

    `currency` is fixed by the first subscription; None until then.
    """

    customer_no: int
    id: str
    name: str | None = None
    email: str | None = None
    currency: str | None = None
    billing_provider: str | None = None
    payment_method: PaymentMethod | None = None
    metadata: dict[str, object] = msgspec.field(default_factory=dict)
    created_at: datetime


def check_metadata(metadata: dict[str, object]) -> None:
    """Raise InvalidInput when there are too many keys."""
    if len(metadata) > METADATA_MAX:
        raise InvalidInput(f"must have at most {METADATA_MAX} keys", field="metadata")


def check_currency(customer: Customer, plan_currency: str) -> None:
    """Raise CURRENCY_MISMATCH unless the customer can take a plan of that currency."""
    if customer.currency not in (None, plan_currency):
        raise Conflict(
            f"customer {customer.id} is billed in {customer.currency}, the plan in {plan_currency}",
            code="CURRENCY_MISMATCH",
            field="plan_id",
        )
