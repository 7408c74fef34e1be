"""The audit log: append and read; the database refuses anything else."""

from datetime import datetime
from typing import Any

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("audit")
_append = _sql.exec("append")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    at: datetime
    actor: str
    action: str
    object_type: str
    object_id: str
    data: dict[str, Any]


async def append(conn: Connection, entry: Entry) -> None:
    await _append(
        conn,
        entry.id,
        entry.at,
        entry.actor,
        entry.action,
        entry.object_type,
        entry.object_id,
        msgspec.json.encode(entry.data).decode(),
    )
