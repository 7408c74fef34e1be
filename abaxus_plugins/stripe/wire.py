"""What goes to Stripe and comes back, as far as we read it.

Source: Stripe's API reference, version 2026-10-28.endive. Requests are forms, answers JSON.
"""

from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec

from abaxus_core.plugin.payments import FrozenRequest

INTENTS: Final = "/v1/payment_intents"
REFUNDS: Final = "/v1/refunds"
BALANCE: Final = "/v1/balance"
ATTEMPT: Final = "metadata[abaxus_attempt_id]"
REFUND: Final = "metadata[abaxus_refund_id]"
FIELDS: Final = frozenset(
    {
        "amount",
        "currency",
        "customer",
        "payment_method",
        "automatic_payment_methods[enabled]",
        "automatic_payment_methods[allow_redirects]",
        "confirm",
        "off_session",
        "error_on_requires_action",
        "metadata[abaxus_attempt_id]",
        "created[gte]",
        "created[lte]",
        "limit",
        "starting_after",
        "cancellation_reason",
        "payment_intent",
        "metadata[abaxus_refund_id]",
    }
)
"""All that is sent, by name."""
HEADERS: Final = frozenset({"authorization", "content-type", "idempotency-key", "stripe-version"})


T = TypeVar("T")


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The `error` of an answer, or an intent's `last_payment_error`. Its message may name payer
    data and is not read.
    """

    type: str | None = None
    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    param: str | None = None
    payment_intent: "Intent | None" = None

    @property
    def reason(self) -> str | None:
        return self.decline_code or self.code


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A PaymentIntent; `status` is an open enumeration."""

    id: str
    status: str
    amount: int
    currency: str
    amount_received: int | None = None
    livemode: bool | None = None
    metadata: dict[str, str] | None = None
    last_payment_error: Failure | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is not 200."""

    error: Failure


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list of intents, newest first."""

    data: list[Intent]
    has_more: bool


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str
    amount: int
    currency: str
    metadata: dict[str, str] | None = None
    failure_reason: str | None = None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    livemode: bool


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a frozen request asked for, to hold the answer against: `id` is the attempt's or the
    refund's, `currency` is not said again in a refund.
    """

    id: str
    amount: int
    currency: str | None


def form(fields: Mapping[str, str]) -> bytes:
    """The fields as Stripe reads them; the same order gives the same bytes."""
    return urlencode(fields).encode()


def asked(request: FrozenRequest, id_field: str) -> Asked:
    """What the request asked for; `id_field` is ATTEMPT or REFUND."""
    fields = fields_of(request)
    return Asked(id=fields[id_field], amount=int(fields["amount"]), currency=fields.get("currency"))


def fields_of(request: FrozenRequest) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), strict_parsing=True))
