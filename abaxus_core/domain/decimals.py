"""Exact decimals: what a number from outside may be, and arithmetic that never loses a digit.

Every calculation of the domain runs in `exact()`; where a digit would be lost it raises instead.
Rounding to money is money.py's.
"""

from contextlib import AbstractContextManager
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)

from abaxus_core.errors import InvalidInput

# numeric(38, 10): product contract, section 3.
DECIMALS_MAX = 10
DIGITS_MAX = 38
_LIMIT = Decimal(10) ** (DIGITS_MAX - DECIMALS_MAX)
_STEP = Decimal(1).scaleb(-DECIMALS_MAX)

# Wide enough for a sum of 10^19 quantities times a price (38 + 19 + 38 digits), and then some.
_PRECISION = 200
_EXACT = Context(
    prec=_PRECISION,
    rounding=ROUND_HALF_UP,
    traps=[InvalidOperation, DivisionByZero, Overflow, Inexact],
)
_ROUNDING = Context(
    prec=_PRECISION, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow]
)

ZERO = Decimal(0)


def exact() -> AbstractContextManager[Context]:
    """Return what a `with` runs Decimal arithmetic in: 200 digits; to need more raises `Inexact`.

    Outside of it, even a minus sign rounds to the 28 digits of Python's default context.
    """
    return localcontext(_EXACT)


def add(number: Decimal, other: Decimal) -> Decimal:
    """Return the sum, exactly; one operation costs less so than in `exact()`."""
    return _EXACT.add(number, other)


def subtract(number: Decimal, other: Decimal) -> Decimal:
    """Return the difference, exactly; one operation costs less so than in `exact()`."""
    return _EXACT.subtract(number, other)


def round_half_away(number: Decimal, decimals: int) -> Decimal:
    """Return `number` at `decimals` places, halves away from zero.

    >>> round_half_away(Decimal("-1.225"), 2)
    Decimal('-1.23')
    """
    return number.quantize(Decimal(1).scaleb(-decimals), context=_ROUNDING)


def divide(number: Decimal, divisor: Decimal) -> Decimal:
    """Return the quotient at 200 digits, for results that are rounded next.

    >>> round_half_away(divide(Decimal(49), Decimal(3)), 2)
    Decimal('16.33')
    """
    return _ROUNDING.divide(number, divisor)


def check_decimal(number: Decimal, field: str | None = None) -> Decimal:
    """Return `number` if numeric(38, 10) holds it exactly; InvalidInput otherwise."""
    if not number.is_finite():
        raise InvalidInput("must be a finite number", field=field)
    if not -_LIMIT < number < _LIMIT:
        raise InvalidInput(
            f"must have at most {DIGITS_MAX - DECIMALS_MAX} digits before the point", field=field
        )
    if number.quantize(_STEP, context=_ROUNDING) != number:
        raise InvalidInput(f"must have at most {DECIMALS_MAX} decimals", field=field)
    return number


def plain_and_checked(number: Decimal, field: str | None = None) -> str:
    """Return `plain(check_decimal(number))`, the ordinary short number at a tenth of the price.

    >>> plain_and_checked(Decimal("1.50"))
    '1.5'
    """
    text = str(number)
    if len(text) <= DECIMALS_MAX + len("0.") and text.replace(".", "", 1).isdigit():
        return _trimmed(text)
    return plain(check_decimal(number, field))


def check_not_negative(number: Decimal, field: str | None = None) -> Decimal:
    """Return `number` if numeric(38, 10) holds it and it is not below zero; else InvalidInput."""
    check_decimal(number, field)
    if number < 0:
        raise InvalidInput("must not be negative", field=field)
    return number


def shift(number: Decimal, places: int) -> Decimal:
    """Return `number × 10^places`, exactly.

    >>> shift(Decimal("157.75"), 2)
    Decimal('15775')
    """
    return number.scaleb(places, context=_EXACT)


def plain(number: Decimal) -> str:
    """Return `number` in plain notation without trailing zeros, as the API answers it.

    >>> plain(Decimal("1E+3")), plain(Decimal("0.00010")), plain(Decimal("-0.0"))
    ('1000', '0.0001', '0')
    """
    text = str(number)
    if "E" in text:
        text = f"{number:f}"
    return _trimmed(text)


def _trimmed(text: str) -> str:
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
