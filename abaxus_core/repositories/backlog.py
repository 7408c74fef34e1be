"""The backlog: what is accepted and not stored, for answers that say how far behind they are."""

from datetime import datetime

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("backlog")
_measure = _sql.one("measure")


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """Requests and events that wait to land or were set aside, of the oldest so many of each.

    `oldest` is when the oldest event that waits was accepted, None when none does; `at_least`:
    more may wait.
    """

    row_count: int
    event_count: int
    at_least: bool
    oldest: datetime | None
    quarantined_rows: int
    quarantined_events: int


async def measure(conn: Connection, *, rows_max: int) -> Backlog:
    """Return what waits in this mode, looking at `rows_max` requests at most."""
    return Backlog(**dict(await _measure(conn, rows_max)))
