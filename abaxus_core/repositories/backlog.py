"""The backlog as operators watch it: what is accepted and not stored."""

from datetime import datetime

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("backlog")
_measure = _sql.one("measure")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Requests and events that wait to land, since when; and requests that were set aside."""

    row_count: int
    event_count: int
    oldest: datetime | None
    quarantined_rows: int


async def measure(conn: Connection) -> Measured:
    """Return what waits in this mode."""
    return Measured(**dict(await _measure(conn)))
