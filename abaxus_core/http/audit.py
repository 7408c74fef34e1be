"""The audit log over HTTP."""

from typing import Annotated, TypeAlias

import msgspec

from abaxus_core.errors import InvalidInput
from abaxus_core.http.answers import Answer
from abaxus_core.http.audit_entries import AuditEntry, entry_page, read_position
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.paging import Page, Paged
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import audit

Word: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Listed(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of these fit. `object_id` is of an `object_type`, and wants it."""

    object_type: Word | None = None
    object_id: Word | None = None
    action: Word | None = None
    actor: Word | None = None


async def newest(call: Call[None, Listed]) -> Answer:
    query = call.query
    wanted = _filter(query)
    before = read_position(query.cursor)

    async def step(conn: Connection) -> Page[AuditEntry]:
        rows = await audit.page(conn, wanted, before_no=before, rows_max=query.limit + 1)
        return entry_page(rows, query.limit)

    return await call.read(step)


def _filter(query: Listed) -> audit.Filter:
    if query.object_id is not None and query.object_type is None:
        raise InvalidInput("is required with object_id", field="object_type")
    return audit.Filter(
        object_type=query.object_type,
        object_id=query.object_id,
        action=query.action,
        actor=query.actor,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/audit",
        handler=newest,
        scope="admin",
        query=Listed,
        answers={200: Page[AuditEntry]},
        summary="List what happened, newest first, to all objects, of one type or one of them",
        tag="Audit",
    ),
)
