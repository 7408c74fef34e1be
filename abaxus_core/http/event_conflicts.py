"""Event conflicts: payloads that came second under a key, and are not stored."""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from abaxus_core.domain.digest import event_digest, event_id
from abaxus_core.http.answers import Answer
from abaxus_core.http.codec import CallerId
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories.event_conflicts import EventConflict
from abaxus_core.services import event_conflicts

_NEWEST: Final = 2**63 - 1


class ConflictQuery(Paged, frozen=True, kw_only=True):
    """Without `customer_id`: of all customers."""

    customer_id: CallerId | None = None


class ConflictListed(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent under a key that had another payload; the event with this id is the first."""

    event_id: str
    customer_id: str
    metric_key: str
    value: str
    timestamp: datetime
    idempotency_key: str
    properties: msgspec.Raw
    subscription_id: str | None
    received_at: datetime


class ConflictPage(Page[ConflictListed], frozen=True, kw_only=True):
    """A page of conflicts; its own type, so that properties go out as they were sent."""


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended: a conflict's number."""

    number: Annotated[int, msgspec.Meta(ge=1, le=_NEWEST)]


async def list_conflicts(call: Call[None, ConflictQuery]) -> Answer:
    """What came second under a key, newest first."""
    query = call.query
    before_no = _NEWEST if query.cursor is None else read_cursor(query.cursor, _Position).number

    async def step(conn: Connection) -> ConflictPage:
        rows = await event_conflicts.newest(
            conn, query.customer_id, before_no=before_no, rows_max=query.limit + 1
        )
        cut = page(rows, query.limit, lambda row: (row.conflict_no,))
        return ConflictPage(data=[_listed(row) for row in cut.data], next_cursor=cut.next_cursor)

    return await call.read(step)


def _listed(conflict: EventConflict) -> ConflictListed:
    return ConflictListed(
        event_id=event_id(event_digest(conflict.customer_id, conflict.idempotency_key)),
        customer_id=conflict.customer_id,
        metric_key=conflict.metric_key,
        value=conflict.value,
        timestamp=conflict.occurred_at,
        idempotency_key=conflict.idempotency_key,
        properties=msgspec.Raw(conflict.properties.encode()),
        subscription_id=conflict.subscription_id,
        received_at=conflict.received_at,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/events/conflicts",
        handler=list_conflicts,
        scope="read",
        summary="List what came second under an event's key",
        tag="Events",
        query=ConflictQuery,
        answers={200: ConflictPage},
        errors=("CUSTOMER_NOT_FOUND",),
    ),
)
