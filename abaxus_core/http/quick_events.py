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
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, TypeAlias, cast

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
# In UTC, an instant of the years 1 and 9999 may be none: that overflows.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, OverflowError)
_Flat: TypeAlias = str | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | bool


class _Quick(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An event whose properties, if any, are flat."""

    customer_id: str
    metric_key: Annotated[str, msgspec.Meta(min_length=1)]
    value: Decimal
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    idempotency_key: IdempotencyKey
    properties: dict[str, _Flat] | None = None
    subscription_id: str | None = None


class _QuickBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: Annotated[list[_Quick], msgspec.Meta(min_length=1)]


_decode_one = msgspec.json.Decoder(_Quick).decode
_decode_batch = msgspec.json.Decoder(_QuickBatch).decode


def read_event(raw: bytes) -> Event | None:
    """The one event in `raw`, or None where codec.py has to look."""
    if b"\\" in raw:
        return None
    try:
        events = _exact(raw, [_decode_one(raw)], 0)
    except _UNREADABLE:
        return None
    return events[0] if events is not None else None


def read_batch(raw: bytes) -> list[Event] | None:
    """The events of the batch in `raw`, or None where codec.py has to look."""
    if b"\\" in raw:
        return None
    try:
        return _exact(raw, _decode_batch(raw).events, QUOTES_AROUND_EVENTS)
    except _UNREADABLE:
        return None


def _exact(raw: bytes, read: Sequence[_Quick], quotes: int) -> list[Event] | None:
    """The events, if nothing in `raw` can mean anything else; `quotes` are around them.

    A name that is there with null has quotes that are not expected, and is left to codec.py.
    """
    events = []
    for each in read:
        spelt = str(each.value)
        if (len(spelt) > _SHORT or "E" in spelt) and not _PLAIN(spelt):
            return None
        quotes += QUOTES_REQUIRED
        if each.properties is not None:
            quotes += 2 + _quotes_in(each.properties)
        if each.subscription_id is not None:
            quotes += 4
        events.append(_event(each))
    if not _are_ids({each.customer_id for each in read}):
        return None
    found = raw.count(b'"')
    return events if found == quotes or found == quotes + _quotes_of_values(raw, read) else None


def _quotes_in(properties: Mapping[str, _Flat]) -> int:
    return 2 * len(properties) + 2 * sum(isinstance(each, str) for each in properties.values())


def _quotes_of_values(raw: bytes, read: Sequence[_Quick]) -> int:
    """Of values that are texts of plain digits; a property of that name would be taken for one."""
    if any(each.properties and "value" in each.properties for each in read):
        return -1
    return 2 * len(_TEXT_VALUE.findall(raw))


def _are_ids(texts: Collection[str]) -> bool:
    """Whether all are `codec.CallerId`, looked at in one go."""
    return bool(_IDS("".join(texts))) and all(0 < len(text) <= _ID_LENGTH_MAX for text in texts)


def _event(read: _Quick) -> Event:
    return Event(
        customer_id=read.customer_id,
        metric_key=read.metric_key,
        value=read.value,
        timestamp=read.timestamp.astimezone(UTC),
        idempotency_key=read.idempotency_key,
        properties=cast("dict[str, object] | None", read.properties),
        subscription_id=read.subscription_id,
    )
