"""How snapshots are written into a cache, and what of it may be believed.

A value names the life of the server that it was written to. A server that has loaded an old dump,
and a replica that has taken over, hold values of another life, which nobody could delete meanwhile.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from abaxus_core.domain.entitlement_documents import Document, Measure, Snapshot, covers, holding
from abaxus_core.domain.periods import Period
from abaxus_core.kernel.kept import Kept
from abaxus_core.services.entitlements.shared_plans import SharedPlans

# In bytes of MessagePack; an entry weighs at least the latter. Decoded, a document takes some 3 KB.
KNOWN_MAX: Final = 12 << 20
KNOWN_WEIGHT_MIN: Final = 1 << 10
VALUE: Final = b"value1:"


class _Value(msgspec.Struct, frozen=True, array_like=True):
    version: int
    document: msgspec.Raw
    used: tuple[tuple[Measure, Decimal], ...]
    as_of: datetime


_encoder = msgspec.msgpack.Encoder()
_values = msgspec.msgpack.Decoder(_Value)
_documents = msgspec.msgpack.Decoder(Document)


def written(snapshot: Snapshot, run_id: bytes) -> bytes:
    """VALUE, the run id, and MessagePack."""
    value = _Value(
        version=snapshot.version,
        document=msgspec.Raw(_encoder.encode(snapshot.document)),
        used=tuple(snapshot.used.items()),
        as_of=snapshot.as_of,
    )
    return VALUE + run_id + _encoder.encode(value)


class _Read(msgspec.Struct, frozen=True, gc=False):
    """What the bytes of a value came to: a snapshot, and the time in which it answers."""

    raw: bytes
    document: bytes
    snapshot: Snapshot
    holding: Period


class Values:
    """Reads them, and remembers what was read last: the same value is mostly read again, and the
    next one mostly has the same document."""

    def __init__(self) -> None:
        self._known: Kept[str, _Read] = Kept(KNOWN_MAX)
        self._plans = SharedPlans()

    def read(self, customer_id: str, raw: bytes, run_id: bytes, now: datetime) -> Snapshot | None:
        """The snapshot; None for what is no value, of another life than `run_id`, or outlived."""
        if not raw.startswith(VALUE + run_id):
            return None
        known = self._known.get(customer_id)
        if known is None or known.raw != raw:
            known = self._learn(customer_id, raw, len(VALUE + run_id), known)
        return known.snapshot if known is not None and known.holding.contains(now) else None

    def _learn(
        self, customer_id: str, raw: bytes, begins: int, known: _Read | None
    ) -> _Read | None:
        try:
            value = _values.decode(memoryview(raw)[begins:])
            document = self._document(bytes(value.document), known)
        except msgspec.DecodeError:
            return None
        snapshot = Snapshot(
            version=value.version, document=document, used=dict(value.used), as_of=value.as_of
        )
        held = holding(snapshot)
        if held is None or not covers(snapshot, None, snapshot.as_of):
            return None
        learnt = _Read(raw, bytes(value.document), snapshot, held)
        self._known.put(customer_id, learnt, max(len(raw), KNOWN_WEIGHT_MIN))
        return learnt

    def _document(self, packed: bytes, known: _Read | None) -> Document:
        if known is not None and known.document == packed:
            return known.snapshot.document
        return self._plans.sharing(_documents.decode(packed))
