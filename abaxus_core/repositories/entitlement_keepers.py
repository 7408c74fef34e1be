"""Processes that give what they have kept of entitlements, and for which changes wait."""

from datetime import datetime, timedelta
from uuid import UUID

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("entitlement_keepers")
_renew = _sql.one("renew")
_are_there_others = _sql.one("are_there_others")
_leave = _sql.exec("leave")
_forget = _sql.exec("forget")


async def renew(conn: Connection, keeper_id: UUID) -> datetime:
    """Have changes wait for this process; when the server that knows began its life."""
    server: datetime = (await _renew(conn, keeper_id))["server"]
    return server


async def are_there_others(conn: Connection, keeper_id: UUID) -> bool:
    return bool((await _are_there_others(conn, keeper_id))["are_there"])


async def leave(conn: Connection, keeper_id: UUID) -> None:
    await _leave(conn, keeper_id)


async def forget(conn: Connection, *, age: timedelta) -> None:
    """Remove those that have not been renewed for so long."""
    await _forget(conn, age)
