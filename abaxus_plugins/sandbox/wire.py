"""The request the sandbox pretends to send, and what each payment method stands for."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from uuid import UUID

import msgspec

from abaxus_core.plugin.payments import Outcome


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    attempt_id: UUID
    amount: Decimal
    currency: str
    customer: str
    payment_method: str

    @property
    def payment_id(self) -> str:
        """The provider's id of the payment: it follows from the attempt, so nothing is kept."""
        return f"sbx_{self.attempt_id.hex}"


DECLINES: Final[Mapping[str, Outcome]] = MappingProxyType(
    {
        "pm_declined": Outcome(status="declined", code="card_declined", retry="later"),
        "pm_insufficient_funds": Outcome(
            status="declined", code="insufficient_funds", retry="later"
        ),
        "pm_expired": Outcome(status="declined", code="expired_card", retry="new_instrument"),
    }
)
UNKNOWN_METHOD: Final = Outcome(
    status="declined", code="unknown_payment_method", retry="new_instrument"
)


def succeeded(charge: Charge) -> Outcome:
    return Outcome(
        status="succeeded",
        provider_ref=charge.payment_id,
        echoed_amount=charge.amount,
        echoed_currency=charge.currency,
    )
