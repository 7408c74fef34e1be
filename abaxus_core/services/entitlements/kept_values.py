"""How snapshots are written into a cache, and what of it may be believed.

A value names the life of the server that it was written to. A server that has loaded an old dump,
and a replica that has taken over, hold values of another life, which nobody could delete meanwhile.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from abaxus_core.domain.entitlement_documents import Document, Measure, Snapshot, holding
from abaxus_core.domain.periods import Period
from abaxus_core.kernel.kept import Kept

# In bytes of MessagePack, some ten bytes each when decoded; an entry weighs at least the latter.
KNOWN_MAX: Final = 2 << 20
KNOWN_WEIGHT_MIN: Final = 1 << 10
VALUE: Final = b"value1:"


class _Value(msgspec.Struct, frozen=True, array_like=True):
    version: int
    document: Document
    used: tuple[tuple[Measure, Decimal], ...]
    as_of: datetime


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Value)


def written(snapshot: Snapshot, run_id: bytes) -> bytes:
    """VALUE, the run id, and MessagePack."""
    value = _Value(
        version=snapshot.version,
        document=snapshot.document,
        used=tuple(snapshot.used.items()),
        as_of=snapshot.as_of,
    )
    return VALUE + run_id + _encoder.encode(value)


class _Read(msgspec.Struct, frozen=True):
    """What the bytes of a value came to: a snapshot, and the time in which it answers."""

    raw: bytes
    snapshot: Snapshot
    holding: Period


class Values:
    """Reads them, and remembers what was read last, since it is mostly read again."""

    def __init__(self) -> None:
        self._known: Kept[str, _Read] = Kept(KNOWN_MAX)

    def read(self, customer_id: str, raw: bytes, run_id: bytes, now: datetime) -> Snapshot | None:
        """The snapshot; None for what is no value, of another life than `run_id`, or outlived."""
        if not raw.startswith(VALUE + run_id):
            return None
        known = self._known.get(customer_id)
        if known is None or known.raw != raw:
            known = self._learn(customer_id, raw, len(VALUE + run_id))
        return known.snapshot if known is not None and known.holding.contains(now) else None

    def _learn(self, customer_id: str, raw: bytes, begins: int) -> _Read | None:
        snapshot = _decode(memoryview(raw)[begins:])
        held = None if snapshot is None else holding(snapshot)
        if snapshot is None or held is None:
            return None
        known = _Read(raw, snapshot, held)
        self._known.put(customer_id, known, max(len(raw), KNOWN_WEIGHT_MIN))
        return known


def _decode(packed: memoryview) -> Snapshot | None:
    try:
        value = _decoder.decode(packed)
    except msgspec.DecodeError:
        return None
    return Snapshot(
        version=value.version,
        document=value.document,
        used=dict(value.used),
        as_of=value.as_of,
    )
