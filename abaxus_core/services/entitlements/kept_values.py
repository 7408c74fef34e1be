"""How snapshots are written into a cache, and what of it may be believed.

A value names the life of the server that it was written to. A server that has loaded an old dump,
and a replica that has taken over, hold values of another life, which nobody could delete meanwhile.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from abaxus_core.domain.entitlement_documents import Document, Measure, Snapshot
from abaxus_core.kernel.kept import Kept

# In bytes of MessagePack, some ten bytes each when decoded; an entry weighs at least the latter.
DECODED_MAX: Final = 2 << 20
DECODED_WEIGHT_MIN: Final = 1 << 10
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


class Values:
    """Reads them, and remembers what the bytes came to that were read last."""

    def __init__(self) -> None:
        self._decoded: Kept[str, tuple[bytes, Snapshot]] = Kept(DECODED_MAX)

    def read(self, customer_id: str, raw: bytes, run_id: bytes) -> Snapshot | None:
        """The snapshot; None for what is no value, or of another life than `run_id`."""
        prefix = VALUE + run_id
        if not raw.startswith(prefix):
            return None
        known = self._decoded.get(customer_id)
        if known is not None and known[0] == raw:
            return known[1]
        snapshot = _decode(memoryview(raw)[len(prefix) :])
        if snapshot is not None:
            weight = max(len(raw), DECODED_WEIGHT_MIN)
            self._decoded.put(customer_id, (raw, snapshot), weight)
        return snapshot


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
