"""Fingerprints of stored events, made again from what is stored, as when they were accepted."""

import msgspec

from abaxus_core.domain.decimals import plain
from abaxus_core.domain.digest import event_digest, event_id, event_key, payload_hash
from abaxus_core.domain.events import stored_properties_text
from abaxus_core.domain.instants import microseconds
from abaxus_core.repositories.events import StoredEvent
from abaxus_core.repositories.verification import KeptEvent


class Fingerprint(msgspec.Struct, frozen=True):
    event_id: str
    key: bytes
    payload_hash: int


def fingerprint(customer_id: str, metric_no: int, stored: KeptEvent | StoredEvent) -> Fingerprint:
    """Return what accepting the event again would make of it."""
    digest = event_digest(customer_id, stored.idempotency_key)
    key = event_key(digest)
    properties = stored.properties
    return Fingerprint(
        event_id(digest),
        key,
        payload_hash(
            key,
            metric_no,
            microseconds(stored.occurred_at),
            plain(stored.value),
            stored.subscription_id,
            None if properties is None else stored_properties_text(properties),
        ),
    )
