"""The quarantine: accepted requests whose events could not land. Setting aside is inbox.py's."""

from datetime import datetime

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories.inbox import InboxRow

_sql = queries("quarantine")
_page = _sql.many("page")
_take = _sql.maybe("take")


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """A row that could not land, and why. `inbox_id` is the number under which it was accepted."""

    inbox_id: int
    event_count: int
    received_at: datetime
    quarantined_at: datetime
    error: str


async def page(conn: Connection, *, after_id: int, rows_max: int) -> list[SetAside]:
    """Return what was set aside, oldest first, beyond `after_id`."""
    return [SetAside(**dict(row)) for row in await _page(conn, after_id, rows_max)]


async def take(conn: Connection, inbox_id: int) -> InboxRow | None:
    """Take a row out of the quarantine; a rollback puts it back. None when it is not there."""
    row = await _take(conn, inbox_id)
    return None if row is None else InboxRow(**dict(row))
