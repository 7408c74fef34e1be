"""Arrivals: accepted events on their way into the tables, spelt as the fields of COPY's rows.

Each is spelt while it is at hand. Reading all of a landing first and spelling it afterwards took
half as much time again, spent on waiting for memory.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

import msgspec

from abaxus_core.repositories import copy_format, event_keys
from abaxus_core.repositories.inbox import QueuedEvent

METERED: Final = (
    "customer_no",
    "metric_no",
    "occurred_at",
    "arrival_no",
    "payload_hash",
    "value",
)
TOLD: Final = ("received_at", "idempotency_key", "subscription_id", "properties")

_pack_metered = Struct(">iiiiiqiqiq").pack
_pack_received_and_length = Struct(">iqi").pack


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An event and when it was accepted, as `instants.microseconds`; see `event_keys` for its
    identity. `key`, `metered` and `told` are the fields of event_keys.COLUMNS, METERED and TOLD."""

    event: QueuedEvent
    received_us: int
    identity: bytes
    payload_hash: int
    key: bytes
    metered: bytes
    told: bytes


def arrivals(queued: Sequence[QueuedEvent], *, first_no: int, received_us: int) -> list[Arrival]:
    """Return events that were accepted together; `first_no` is the first one's place in the order
    of acceptance, the next one has the next."""
    return [_arrival(event, number, received_us) for number, event in enumerate(queued, first_no)]


def _arrival(event: QueuedEvent, arrival_no: int, received_us: int) -> Arrival:
    identity = event_keys.identity(event.customer_no, event.key)
    payload_hash = event.payload_hash
    return Arrival(
        event,
        received_us,
        identity,
        payload_hash,
        event_keys.fields(identity, payload_hash),
        _metered(event, arrival_no, payload_hash),
        _told(event, received_us),
    )


def _metered(event: QueuedEvent, arrival_no: int, payload_hash: int) -> bytes:
    return _pack_metered(
        4, event.customer_no, 4, event.metric_no, 8, event.occurred_us, 8, arrival_no,
        8, payload_hash,
    ) + copy_format.numeric(event.value)  # fmt: skip


def _told(event: QueuedEvent, received_us: int) -> bytes:
    key = event.idempotency_key.encode()
    return b"".join(
        (
            _pack_received_and_length(8, received_us, len(key)),
            key,
            copy_format.text(event.subscription_id),
            copy_format.jsonb(event.properties),
        )
    )
