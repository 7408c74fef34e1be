"""What changed of what checks are answered from, told to whoever has kept some of it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from abaxus_core.domain.usage_parts import Growth
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries

_sql = queries("entitlement_changes")
_told = _sql.many("told")
_move_on = _sql.exec("move_on")
_forget = _sql.exec("forget")


class Change(msgspec.Struct, frozen=True, gc=False):
    """What one transaction changed: usage of these metrics by the customers at the same places.

    `growths`: by how much. `metric_nos` None: all that these customers are granted. `customer_nos`
    None: anything of anybody.
    """

    customer_nos: Sequence[int] | None = None
    metric_nos: Sequence[int] | None = None
    growths: Sequence[Growth] = ()


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
            Change(row["customer_nos"], row["metric_nos"], _growths(row))
            for row in rows
            if row["is_change"]
        ],
    )


def _growths(row: Record) -> Sequence[Growth]:
    columns = row["days"], row["added"], row["first_added_at"], row["last_added_at"]
    return () if None in columns else list(map(Growth, *columns))


async def move_on(conn: Connection) -> None:
    """End what is told to whoever has asked for nothing since the last call but one."""
    await _move_on(conn)


async def forget(conn: Connection, *, rows_max: int) -> int:
    """Remove what nobody is told any more; how much it was."""
    return await _forget(conn, rows_max)
