"""What changed of what checks are answered from, told to whoever has kept some of it."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("entitlement_changes")
_told = _sql.many("told")
_move_on = _sql.exec("move_on")
_forget = _sql.exec("forget")


class Change(msgspec.Struct, frozen=True, gc=False):
    """What one transaction changed: usage of these metrics by the customers at the same places.

    It did so on these days, by so much (None: nobody knows), which is added, or is the greatest or
    least value of the day. `metric_nos` None: all that these customers are granted. `customer_nos`
    None: anything of anybody.
    """

    customer_nos: Sequence[int] | None = None
    metric_nos: Sequence[int] | None = None
    days: Sequence[date] = ()
    added: Sequence[Decimal | None] = ()


class Told(msgspec.Struct, frozen=True):
    """What changed since a position, up to another one. Positions are the database's snapshots.

    `server`: when the server that tells began its life; its positions mean nothing to another one.
    Unless `whole`, anything may have changed, and nothing is told.
    """

    position: str
    server: datetime
    whole: bool
    changes: Sequence[Change]


async def told(conn: Connection, position: str | None, *, rows_max: int, usages_max: int) -> Told:
    """What changed since `position`; None: where somebody begins, for whom nothing is whole."""
    rows = await _told(conn, position, rows_max, usages_max)
    first = rows[0]
    return Told(
        position=first["position"],
        server=first["server"],
        whole=bool(first["whole"]),
        changes=[
            Change(row["customer_nos"], row["metric_nos"], row["days"] or (), row["added"] or ())
            for row in rows
            if row["is_change"]
        ],
    )


async def move_on(conn: Connection) -> None:
    """End what is told to whoever has asked for nothing since the last call but one."""
    await _move_on(conn)


async def forget(conn: Connection, *, rows_max: int) -> int:
    """Remove what nobody is told any more; how much it was."""
    return await _forget(conn, rows_max)
