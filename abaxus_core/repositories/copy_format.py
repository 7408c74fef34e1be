"""Rows in PostgreSQL's binary COPY format, made by hand for the one place where it pays: landing.

Format: https://www.postgresql.org/docs/current/sql-copy.html (File Formats, Binary). A field is its
length in four bytes and its content as the type's receive function reads it, all big-endian; a
row is the number of its fields in two bytes and the fields.
"""

from functools import lru_cache
from struct import Struct
from typing import Final

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
NULL: Final = b"\xff\xff\xff\xff"
# The same values come again and again: 1, a plan's sizes, round sums.
NUMERICS_KEPT: Final = 4_096

_BASE_DIGITS: Final = 4
_NEGATIVE: Final = 0x4000
_JSONB_VERSION: Final = 1

_pack_int4 = Struct(">i").pack
_pack_int8_field = Struct(">iq").pack
_pack_jsonb_head = Struct(">ib").pack
_pack_numeric_head = Struct(">ihhHh").pack
_pack_short_numeric = Struct(">ihhHhhh").pack


def count(fields: int) -> bytes:
    """Return what begins a row of that many fields."""
    return fields.to_bytes(2, "big")


def int8(number: int) -> bytes:
    return _pack_int8_field(8, number)


def text(value: str | None) -> bytes:
    if value is None:
        return NULL
    raw = value.encode()
    return _pack_int4(len(raw)) + raw


def jsonb(value: str | None) -> bytes:
    """JSON text as a jsonb, whose first byte is the version of its form."""
    if value is None:
        return NULL
    raw = value.encode()
    return _pack_jsonb_head(len(raw) + 1, _JSONB_VERSION) + raw


@lru_cache(NUMERICS_KEPT)
def numeric(plain: str) -> bytes:
    """Return a number in plain notation as a numeric. Raises ValueError when it is not one.

    Its digits are in base 10,000; the weight is the place of the first before the point.

    >>> numeric("-12345.5").hex(" ", 2)
    '0000 000e 0003 0001 4000 0001 0001 0929 1388'
    """
    whole, _, fraction = plain.partition(".")
    unsigned, sign = whole, 0
    if whole[:1] == "-":
        unsigned, sign = whole[1:], _NEGATIVE
    if not ((unsigned + fraction).isdecimal() and unsigned and plain.isascii()):
        raise ValueError(f"{plain[:40]!r} is not a number in plain notation")
    if len(unsigned) <= _BASE_DIGITS and len(fraction) <= _BASE_DIGITS:
        digit, after = int(unsigned), int((fraction + "0000")[:_BASE_DIGITS])
        return _pack_short_numeric(12, 2, 0, sign, len(fraction), digit, after)
    return _long_numeric(unsigned, fraction, sign)


def _long_numeric(whole: str, fraction: str, sign: int) -> bytes:
    groups = -(-len(whole) // _BASE_DIGITS)
    padded = whole.zfill(groups * _BASE_DIGITS) + fraction
    padded += "0" * (-len(padded) % _BASE_DIGITS)
    digits = [int(padded[at : at + _BASE_DIGITS]) for at in range(0, len(padded), _BASE_DIGITS)]
    head = _pack_numeric_head(8 + 2 * len(digits), len(digits), groups - 1, sign, len(fraction))
    return head + b"".join(digit.to_bytes(2, "big") for digit in digits)
