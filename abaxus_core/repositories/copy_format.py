"""Rows in PostgreSQL's binary COPY format, made by hand for the one place where it pays: landing.

Format: https://www.postgresql.org/docs/current/sql-copy.html (File Formats, Binary). A field is its
length in four bytes and its content as the type's receive function reads it, all big-endian; a
row is the number of its fields in two bytes and the fields.
"""

from collections.abc import AsyncIterator, Iterable
from functools import lru_cache
from itertools import islice
from struct import Struct
from typing import Final

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
NULL: Final = b"\xff\xff\xff\xff"
# The server stores one chunk while the next is on its way.
ROWS_PER_CHUNK: Final = 2_000
# There are few digits in base 10,000, and they come again and again: with and without zeros before.
DIGITS_KEPT: Final = 20_000

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


async def table(rows: Iterable[bytes], head: bytes) -> AsyncIterator[bytes]:
    """Yield what COPY reads: the fields of each row, behind what begins every row."""
    yield HEADER
    waiting = iter(rows)
    while chunk := list(islice(waiting, ROWS_PER_CHUNK)):
        yield head + head.join(chunk)
    yield TRAILER


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


def numeric(plain: str) -> bytes:
    """Return a number in plain notation as a numeric. Raises ValueError when it is not one.

    Its digits are in base 10,000; the weight is the place of the first before the point.

    >>> numeric("-12345.5").hex(" ", 2)
    '0000 000e 0003 0001 4000 0001 0001 0929 1388'
    """
    whole, _, fraction = plain.partition(".")
    if len(whole) <= _BASE_DIGITS and len(fraction) <= _BASE_DIGITS and whole[:1] != "-":
        return _pack_short_numeric(
            12, 2, 0, 0, len(fraction), _digit(whole), _digit(fraction.ljust(_BASE_DIGITS, "0"))
        )
    if whole[:1] == "-":
        return _long_numeric(whole[1:], fraction, _NEGATIVE)
    return _long_numeric(whole, fraction, 0)


@lru_cache(DIGITS_KEPT)
def _digit(decimal: str) -> int:
    """Up to _BASE_DIGITS decimal digits as one."""
    if not (decimal.isdecimal() and decimal.isascii()):
        raise ValueError(f"{decimal!r} is not decimal digits")
    return int(decimal)


def _long_numeric(whole: str, fraction: str, sign: int) -> bytes:
    if not whole:
        raise ValueError("a number in plain notation begins with a digit")
    groups = -(-len(whole) // _BASE_DIGITS)
    padded = whole.zfill(groups * _BASE_DIGITS) + fraction
    padded += "0" * (-len(padded) % _BASE_DIGITS)
    digits = [_digit(padded[at : at + _BASE_DIGITS]) for at in range(0, len(padded), _BASE_DIGITS)]
    head = _pack_numeric_head(8 + 2 * len(digits), len(digits), groups - 1, sign, len(fraction))
    return head + b"".join(digit.to_bytes(2, "big") for digit in digits)
