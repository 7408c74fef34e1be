"""Event bodies of the ordinary form, read in one pass.

codec.py reads any JSON exactly, through a tree; most of what an ingesting caller sends needs no
tree. Here msgspec decodes straight into types, wherever the bytes alone show that the result is
the same: no escape in any text (so no NUL and no lone surrogate), no blank after a quote and no
name twice (so the colons after quotes are as many as the names), decimals in plain digits, flat
properties. Everything else, and everything that is wrong, is left to codec.py, which says why.
"""

import re
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, TypeAlias, cast

import msgspec

from abaxus_core.domain.events import Event
from abaxus_core.http.codec import IdempotencyKey

NAMES_REQUIRED: Final = 5

_LOOSE: Final = (b"\\", b'" ', b'"\n', b'"\t', b'"\r')
_TEXT_VALUE: Final = re.compile(rb'"value":"-?[0-9]{1,28}(?:\.[0-9]{1,10})?"')
_PLAIN: Final = re.compile(r"-?[0-9]{1,28}(?:\.[0-9]{1,10})?").fullmatch
_IDS: Final = re.compile(r"[A-Za-z0-9_.:-]+").fullmatch
_ID_LENGTH_MAX: Final = 128
_SHORT: Final = 12


_Flat: TypeAlias = str | int | bool


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
    if _is_loose(raw):
        return None
    try:
        read = _decode_one(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return _event(read) if _is_exact(raw, (read,), names=0) else None


def read_batch(raw: bytes) -> list[Event] | None:
    """The events of the batch in `raw`, or None where codec.py has to look."""
    if _is_loose(raw):
        return None
    try:
        read = _decode_batch(raw).events
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return [_event(each) for each in read] if _is_exact(raw, read, names=1) else None


def _is_loose(raw: bytes) -> bool:
    return any(each in raw for each in _LOOSE)


def _is_exact(raw: bytes, read: Collection[_Quick], *, names: int) -> bool:
    """Whether nothing stood twice and every value is spelt plainly; `names` are around the events.

    A name that is there with null counts as one that is not, so such a body is left to codec.py.
    """
    for each in read:
        names += NAMES_REQUIRED
        if each.properties is not None:
            names += 1 + len(each.properties)
        if each.subscription_id is not None:
            names += 1
        spelt = str(each.value)
        if not (len(spelt) <= _SHORT and spelt.isdigit()) and not _PLAIN(spelt):
            return False
    if raw.count(b'":') != names or not _are_ids({each.customer_id for each in read}):
        return False
    texts = raw.count(b'"value":"')
    return texts == 0 or len(_TEXT_VALUE.findall(raw)) == texts


def _are_ids(texts: Collection[str]) -> bool:
    """Whether all are `codec.CallerId`, looked at in one go."""
    return bool(_IDS("".join(texts))) and all(0 < len(text) <= _ID_LENGTH_MAX for text in texts)


def _event(read: _Quick) -> Event:
    return Event(
        customer_id=read.customer_id,
        metric_key=read.metric_key,
        value=read.value,
        timestamp=read.timestamp,
        idempotency_key=read.idempotency_key,
        properties=cast("dict[str, object] | None", read.properties),
        subscription_id=read.subscription_id,
    )
