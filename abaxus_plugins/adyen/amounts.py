"""Adyen's own minor units, which are not ISO 4217's, and the currencies it takes.

Source: docs.adyen.com/development-resources/currency-codes, read 2026-08; a closed list.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from abaxus_core.plugin.payments import InvalidRequest

_WHOLE: Final = """
CVE DJF GNF IDR JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF
"""
_HUNDREDTHS: Final = """
AED ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BWP BYN BZD CAD CHF CLP CNH CNY
COP CRC CUP CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF ILS
INR ISK JMD KES KGS KHR KYD KZT LAK LKR MAD MDL MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD
NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD
STN SVC SZL THB TOP TRY TTD TWD TZS UAH USD UYU UZS VEF WST XCD XCG YER ZAR ZMW
"""
_THOUSANDTHS: Final = """
BHD IQD JOD KWD LYD OMR TND
"""
_DIGITS: Final[Mapping[str, int]] = MappingProxyType(
    dict.fromkeys(_WHOLE.split(), 0)
    | dict.fromkeys(_HUNDREDTHS.split(), 2)
    | dict.fromkeys(_THOUSANDTHS.split(), 3)
)
CURRENCIES: Final = frozenset(_DIGITS)


def to_minor(amount: Decimal, currency: str) -> int:
    """The integer that stands for `amount`. Raises InvalidRequest where none does exactly.

    >>> to_minor(Decimal("157.75"), "USD"), to_minor(Decimal("157.75"), "CLP")
    (15775, 15775)
    """
    if currency not in _DIGITS:
        raise InvalidRequest("currency_not_supported", f"Adyen takes no {currency}")
    scaled = amount.scaleb(_DIGITS[currency])
    minor = int(scaled)
    if minor != scaled:
        raise InvalidRequest("amount_not_exact", f"Adyen cannot charge {amount} {currency} exactly")
    if minor <= 0:
        raise InvalidRequest("amount_not_positive", "Adyen charges amounts above zero")
    return minor


def to_major(minor: int, currency: str) -> Decimal | None:
    """The amount that Adyen's integer stands for; None in a currency that it does not have.

    >>> to_major(15775, "USD"), to_major(500, "IDR")
    (Decimal('157.75'), Decimal('500'))
    """
    return Decimal(minor).scaleb(-_DIGITS[currency]) if currency in _DIGITS else None
