"""An event as lists show it, and pages of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from abaxus_core.domain.decimals import plain
from abaxus_core.domain.digest import event_digest, event_id
from abaxus_core.domain.instants import check_instant
from abaxus_core.http.paging import Page, page, read_cursor
from abaxus_core.repositories.event_conflicts import EventConflict
from abaxus_core.repositories.events import StoredEvent
from abaxus_core.services.usage import ARRIVAL_MAX


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


class EventPage(Page[EventDocument], frozen=True, kw_only=True):
    """A page of events that have landed; its own type, so that properties go out as they are
    stored."""


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of events ended."""

    occurred_at: datetime
    arrival_no: Annotated[int, msgspec.Meta(ge=0, le=ARRIVAL_MAX)]


def read_position(cursor: str | None) -> tuple[datetime, int] | None:
    """The event after which a page begins; None for the first page. Raises InvalidInput."""
    if cursor is None:
        return None
    position = read_cursor(cursor, _Position)
    return check_instant(position.occurred_at, "cursor"), position.arrival_no


def event_page(customer_id: str, rows: Sequence[StoredEvent], limit: int) -> EventPage:
    """The first `limit` of a customer's events, newest first."""
    cut = page(rows, limit, lambda row: (row.occurred_at, row.arrival_no))
    listed = [document(customer_id, row) for row in cut.data]
    return EventPage(data=listed, next_cursor=cut.next_cursor)


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
