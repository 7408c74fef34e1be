"""Stripe's own minor units, which are not ISO 4217's.

Source: docs.stripe.com/currencies, read 2026-08. UGX stands there among the currencies without
minor units and among the special cases; the special case is what is charged by. That the last digit
of three must be 0 left the page after 2022: it is the safe side.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from abaxus_core.plugin.payments import InvalidRequest

_DIGITS: Final = 2
_WHOLE: Final = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
_THOUSANDTHS: Final = "BHD JOD KWD OMR TND"
_EXCEPTIONS: Final[Mapping[str, int]] = MappingProxyType(
    dict.fromkeys(_WHOLE.split(), 0) | dict.fromkeys(_THOUSANDTHS.split(), 3)
)
_MULTIPLE_OF: Final[Mapping[str, int]] = MappingProxyType(
    dict.fromkeys(_THOUSANDTHS.split(), 10) | {"ISK": 100, "UGX": 100}
)


def to_minor(amount: Decimal, currency: str) -> int:
    """The integer that stands for `amount`. Raises InvalidRequest where none does exactly.

    >>> to_minor(Decimal("157.75"), "USD"), to_minor(Decimal("500"), "JPY")
    (15775, 500)
    """
    scaled = amount.scaleb(_EXCEPTIONS.get(currency, _DIGITS))
    minor = int(scaled)
    if minor != scaled or minor % _MULTIPLE_OF.get(currency, 1):
        raise InvalidRequest(
            "amount_not_exact", f"Stripe cannot charge {amount} {currency} exactly"
        )
    if minor <= 0:
        raise InvalidRequest("amount_not_positive", "Stripe charges amounts above zero")
    return minor


def to_major(minor: int, currency: str) -> Decimal:
    """The amount that Stripe's integer stands for.

    >>> to_major(15775, "USD"), to_major(500, "JPY")
    (Decimal('157.75'), Decimal('500'))
    """
    return Decimal(minor).scaleb(-_EXCEPTIONS.get(currency, _DIGITS))
