"""Watermarks: the number up to which every landing has ended.

An invoice is rated from the events with `landing_no` at or below a watermark; nothing that commits
later can carry such a number (docs/decisions/0003-the-event-pipeline.md).
"""

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("watermarks")
_last_landing = _sql.one("last_landing")
_await_landings = _sql.exec("await_landings")
_begin_landing = _sql.one("begin_landing")


async def read(conn: Connection) -> int:
    """Return a watermark W: every landing numbered at or below W has committed or failed.

    Waits for the landings that run. Call it in autocommit, before the transaction that rates:
    inside one, the exclusive lock would hold up all landings until its end, and the snapshot of a
    REPEATABLE READ one would be older than W.
    """
    landing_no: int = (await _last_landing(conn))["landing_no"]
    await _await_landings(conn)
    return landing_no


async def begin_landing(conn: Connection) -> int:
    """Return the number of the landing that the open transaction is, and hold W below it."""
    landing_no: int = (await _begin_landing(conn))["landing_no"]
    return landing_no
