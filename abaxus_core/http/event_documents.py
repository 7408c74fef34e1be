"""An event as lists show it."""

from datetime import datetime

import msgspec

from abaxus_core.domain.decimals import plain
from abaxus_core.domain.digest import event_digest, event_id
from abaxus_core.repositories.event_conflicts import EventConflict
from abaxus_core.repositories.events import StoredEvent


class EventDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent; of a conflict, the event with this id is the first."""

    event_id: str
    customer_id: str
    metric_key: str
    value: str
    timestamp: datetime
    idempotency_key: str
    properties: msgspec.Raw
    subscription_id: str | None
    received_at: datetime


def document(customer_id: str, event: StoredEvent | EventConflict) -> EventDocument:
    """Return an event of the customer, its properties as they are stored."""
    return EventDocument(
        event_id=event_id(event_digest(customer_id, event.idempotency_key)),
        customer_id=customer_id,
        metric_key=event.metric_key,
        value=plain(event.value),
        timestamp=event.occurred_at,
        idempotency_key=event.idempotency_key,
        properties=msgspec.Raw((event.properties or "null").encode()),
        subscription_id=event.subscription_id,
        received_at=event.received_at,
    )
