"""What goes to Mollie and comes back, as far as we read it.

Source: docs.mollie.com/reference/create-payment, /get-payment, /list-customer-payments and
/handling-errors, API v2, read 2026-11.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

PAYMENTS: Final = "/v2/payments"

FIELDS: Final = frozenset(
    {
        "amount.currency",
        "amount.value",
        "description",
        "sequenceType",
        "customerId",
        "mandateId",
        "metadata.abaxus_attempt_id",
        "limit",
        "from",
    }
)
"""All that is sent, by name."""
HEADERS: Final = frozenset({"authorization", "content-type", "idempotency-key"})

T = TypeVar("T")


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    currency: str
    value: Decimal


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    abaxus_attempt_id: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The request: what a mandate is charged."""

    amount: Amount
    description: str
    sequenceType: str = "recurring"  # noqa: N815 - Mollie's names
    customerId: str  # noqa: N815
    mandateId: str  # noqa: N815
    metadata: Metadata


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """Of a payment that failed. The message beside the reason is for the payer and not read."""

    failureReason: str | None = None  # noqa: N815


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment; `status` is an open enumeration."""

    id: str
    mode: str
    status: str
    amount: Amount
    profileId: str  # noqa: N815
    createdAt: datetime  # noqa: N815
    metadata: object = None  # of payments that others made: anything
    details: Details | None = None

    @property
    def attempt_id(self) -> object:
        return self.metadata.get("abaxus_attempt_id") if isinstance(self.metadata, dict) else None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an error. Its `detail` may repeat what was sent and is not read."""

    status: int
    title: str
    field: str | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    href: str


class Links(msgspec.Struct, frozen=True, kw_only=True):
    next: Link | None = None


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    payments: list[Payment]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list of payments, newest first."""

    embedded: Embedded = msgspec.field(name="_embedded")
    links: Links = msgspec.field(name="_links")
