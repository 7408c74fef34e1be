"""Mollie's amounts: texts with the decimal places of the currency, no more and no fewer.

Source: docs.mollie.com/docs/multicurrency, read 2026-11.
"""

from decimal import Decimal
from typing import Final

from abaxus_core.plugin.payments import InvalidRequest

_WHOLE: Final = frozenset({"ISK", "JPY"})
_HUNDREDTHS: Final = frozenset(
    {
        "AED", "AUD", "BRL", "CAD", "CHF", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "MXN",
        "MYR", "NOK", "NZD", "PHP", "PLN", "RON", "SEK", "SGD", "THB", "TWD", "USD", "ZAR",
    }
)  # fmt: skip
CURRENCIES: Final = _WHOLE | _HUNDREDTHS


def to_value(amount: Decimal, currency: str) -> str:
    """The text that stands for `amount`. Raises InvalidRequest where none does exactly.

    >>> to_value(Decimal("157.7500"), "EUR"), to_value(Decimal(500), "JPY")
    ('157.75', '500')
    """
    if currency not in CURRENCIES:
        raise InvalidRequest("currency_not_supported", f"Mollie does not charge in {currency}")
    value = f"{amount:.{0 if currency in _WHOLE else 2}f}"
    if Decimal(value) != amount:
        raise InvalidRequest(
            "amount_not_exact", f"Mollie cannot charge {amount} {currency} exactly"
        )
    if amount <= 0:
        raise InvalidRequest("amount_not_positive", "Mollie charges amounts above zero")
    return value
