"""Event bodies of the ordinary form, read in one pass.

codec.py reads any JSON exactly, through a tree; most of what an ingesting caller sends needs no
tree. Here msgspec decodes straight into types, wherever the bytes alone show that the result is
the same: no escape in any text (so no NUL and no lone surrogate, and a quote only begins or ends a
text), as many quotes as the texts that were read have (so no name stood twice), decimals in plain
digits, flat properties. Everything else, and everything that is wrong, is left to codec.py, which
says why.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, TypeAlias

import msgspec

from abaxus_core.domain.events import Event
from abaxus_core.http.codec import IdempotencyKey

# Of five names and the four texts beside the value; two for each.
QUOTES_REQUIRED: Final = 18
QUOTES_AROUND_EVENTS: Final = 2

_TEXT_VALUE: Final = re.compile(rb'"value": ?"-?[0-9]{1,28}(?:\.[0-9]{1,10})?"')
_PLAIN: Final = re.compile(r"-?[0-9]{1,28}(?:\.[0-9]{1,10})?").fullmatch
_IDS: Final = re.compile(r"[A-Za-z0-9_.:-]+").fullmatch
_ID_LENGTH_MAX: Final = 128
_SHORT: Final = 12
# In UTC, an instant of these years may be none.
_YEAR_MIN: Final = 1
_YEAR_MAX: Final = 9999
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError)
_Flat: TypeAlias = str | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | bool


class _Quick(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An event whose properties, if any, are flat."""

    metric_key: Annotated[str, msgspec.Meta(min_length=1)]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    idempotency_key: IdempotencyKey
    properties: Mapping[str, _Flat] | None = None


class _QuickBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    events: Annotated[list[_Quick], msgspec.Meta(min_length=1)]


_decode_one = msgspec.json.Decoder(_Quick).decode
_decode_batch = msgspec.json.Decoder(_QuickBatch).decode


def read_event(raw: bytes) -> Event | None:
    """The one event in `raw`, or None where codec.py has to look."""
    if b"\\" in raw:
        return None
    try:
        read = _decode_one(raw)
    except _UNREADABLE:
        return None
    return read if _is_exact(raw, [read], 0) else None


def read_batch(raw: bytes) -> list[_Quick] | None:
    """The events of the batch in `raw`, or None where codec.py has to look."""
    if b"\\" in raw:
        return None
    try:
        read = _decode_batch(raw).events
    except _UNREADABLE:
        return None
    return read if _is_exact(raw, read, QUOTES_AROUND_EVENTS) else None


def _is_exact(raw: bytes, read: Sequence[_Quick], quotes: int) -> bool:
    """Whether nothing in `raw` can mean anything else; `quotes` are around the events.

    A name that is there with null has quotes that are not expected, and is left to codec.py.
    """
    for each in read:
        spelt = str(each.value)
        if (len(spelt) > _SHORT or "E" in spelt) and not _PLAIN(spelt):
            return False
        if not _YEAR_MIN < each.timestamp.year < _YEAR_MAX:
            return False
        quotes += QUOTES_REQUIRED
        if each.properties is not None:
            quotes += 2 + _quotes_in(each.properties)
        if each.subscription_id is not None:
            quotes += 4
    found = raw.count(b'"')
    return (found == quotes or found == quotes + _quotes_of_values(raw, read)) and _are_ids(
        {each.customer_id for each in read}
    )


def _quotes_in(properties: Mapping[str, _Flat]) -> int:
    """Of its names, and of those values that are texts."""
    quotes = 4 * len(properties)
    for each in properties.values():
        if each.__class__ is not str:
            quotes -= 2
    return quotes


def _quotes_of_values(raw: bytes, read: Sequence[_Quick]) -> int:
    """Of values that are texts of plain digits; a property of that name would be taken for one."""
    if any(each.properties and "value" in each.properties for each in read):
        return -1
    return 2 * len(_TEXT_VALUE.findall(raw))


def _are_ids(texts: Collection[str]) -> bool:
    """Whether all are `codec.CallerId`, looked at in one go."""
    return bool(_IDS("".join(texts))) and all(0 < len(text) <= _ID_LENGTH_MAX for text in texts)
