"""Money: currencies and their exponents (ISO 4217), minor units, rounding, allocation.

Money is an int of minor units beside its lower-case currency. Prices and exact amounts stay
Decimal until they become a line.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

import iso4217

from abaxus_core.domain.decimals import ZERO, check_decimal, divide, exact, round_half_away, shift
from abaxus_core.errors import InvalidInput

# Codes without an exponent (xau, xts, xxx, …) cannot be billed in and are left out.
_EXPONENTS: Mapping[str, int] = MappingProxyType(
    {
        currency.code.lower(): currency.exponent
        for currency in iso4217.Currency
        if currency.exponent is not None
    }
)

# What payment providers hold an amount in.
_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1


def normalise_currency(code: str, field: str = "currency") -> str:
    """Return the lower-case code of a currency of ISO 4217 that has minor units.

    Raises InvalidInput for anything else.

    >>> normalise_currency("USD")
    'usd'
    """
    currency = code.lower()
    if not code.isascii() or currency not in _EXPONENTS:
        raise InvalidInput(f"{code!r} is not a currency of ISO 4217 with minor units", field=field)
    return currency


def exponent(currency: str) -> int:
    """Return the decimals of a normalised currency's minor unit.

    >>> exponent("jpy"), exponent("usd"), exponent("kwd")
    (0, 2, 3)
    """
    return _EXPONENTS[currency]


def to_minor(amount: Decimal, currency: str) -> int:
    """Return `amount` (major units) in minor units, rounded half away from zero.

    >>> to_minor(Decimal("11.425"), "usd"), to_minor(Decimal("-0.5"), "jpy")
    (1143, -1)
    """
    return int(round_half_away(shift(amount, exponent(currency)), 0))


def whole_minor(amount: Decimal, currency: str) -> int:
    """Return `amount` in minor units, for amounts that must not need rounding.

    Raises InvalidInput when it has a fraction of a minor unit or exceeds a signed 64-bit integer,
    which is what payment providers take.

    >>> whole_minor(Decimal("100.50"), "eur")
    10050
    """
    minor = shift(check_decimal(amount), exponent(currency))
    if minor != minor.to_integral_value():
        raise InvalidInput(f"{amount} has a fraction of the minor unit of {currency}")
    if not _INT64_MIN <= minor <= _INT64_MAX:
        raise InvalidInput(f"{amount} is too large an amount of money")
    return int(minor)


def from_minor(minor: int, currency: str) -> Decimal:
    """Return minor units as an amount in major units, with the currency's decimals.

    >>> from_minor(15775, "usd")
    Decimal('157.75')
    """
    return shift(Decimal(minor), -exponent(currency))


def allocate(total_minor: int, weights: Sequence[Decimal]) -> list[int]:
    """Return `total_minor` split by `weights`, by largest remainder; the parts sum to the whole.

    Equal remainders go to the one listed first. Weights are not negative and not all zero.

    >>> allocate(5, [Decimal(1), Decimal(1), Decimal(1)])
    [2, 2, 1]
    """
    with exact():
        whole = sum(weights, ZERO)
        if whole <= 0 or min(weights) < 0:
            raise InvalidInput("weights must not be negative, nor all zero", field="weights")
    if total_minor < 0:
        return [-part for part in allocate(-total_minor, weights)]
    shares = [_floor_and_rest(total_minor, weight, whole) for weight in weights]
    left = total_minor - sum(floor for floor, _ in shares)
    by_rest = sorted(range(len(shares)), key=lambda place: (-shares[place][1], place))
    receivers = frozenset(by_rest[:left])
    parts = [floor + (place in receivers) for place, (floor, _) in enumerate(shares)]
    assert sum(parts) == total_minor, "an allocation conserves its total"
    return parts


def _floor_and_rest(total_minor: int, weight: Decimal, whole: Decimal) -> tuple[int, Decimal]:
    with exact():
        numerator = total_minor * weight
        floor = int(numerator // whole)
        return floor, numerator - floor * whole


def share(amount: Decimal, part: int, whole: int) -> Decimal:
    """Return `amount × part / whole`, at 200 digits, to be rounded once by `to_minor`.

    >>> to_minor(share(Decimal("49.00"), 10, 30), "usd")
    1633
    """
    with exact():
        return divide(amount * part, Decimal(whole))
