"""The request the sandbox pretends to send, and what each payment method stands for."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from uuid import UUID

import msgspec

from abaxus_core.plugin.payments import Outcome, Retry


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


def _declined(code: str, retry: Retry) -> Outcome:
    return Outcome(status="declined", code=code, provider_code=code, retry=retry)


DECLINES: Final[Mapping[str, Outcome]] = MappingProxyType(
    {
        "pm_declined": _declined("declined", "later"),
        "pm_insufficient_funds": _declined("insufficient_funds", "later"),
        "pm_expired": _declined("expired", "new_instrument"),
    }
)
UNKNOWN_METHOD: Final = _declined("unknown_payment_method", "new_instrument")


def succeeded(charge: Charge) -> Outcome:
    return Outcome(
        status="succeeded",
        provider_ref=charge.payment_id,
        echoed_amount=charge.amount,
        echoed_currency=charge.currency,
    )
