"""Event conflicts: payloads that came second under a key, and are not stored."""

from typing import Annotated, Final

import msgspec

from abaxus_core.http.answers import Answer
from abaxus_core.http.codec import CallerId
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.event_documents import EventDocument, document
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.kernel.database import Connection
from abaxus_core.services import event_conflicts

_NEWEST: Final = 2**63 - 1


class ConflictQuery(Paged, frozen=True, kw_only=True):
    """Without `customer_id`: of all customers."""

    customer_id: CallerId | None = None


class ConflictPage(Page[EventDocument], frozen=True, kw_only=True):
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
        return ConflictPage(
            data=[document(row.customer_id, row) for row in cut.data], next_cursor=cut.next_cursor
        )

    return await call.read(step)


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
