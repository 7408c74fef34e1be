"""The audit log: append and read; the database refuses anything else."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from abaxus_core.kernel.database import Connection, Record
from abaxus_core.kernel.sql import queries

_sql = queries("audit")
_append = _sql.exec("append")
_append_many = _sql.exec("append_many")
_page_of_object = _sql.many("page_of_object")

_data = msgspec.json.Decoder(dict[str, Any])


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


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One action, by one actor, at one instant, on objects of one type."""

    at: datetime
    actor: str
    action: str
    object_type: str


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An entry and its place in the log."""

    no: int
    entry: Entry


async def append_many(
    conn: Connection, act: Act, entries: Sequence[tuple[str, str, Mapping[str, object]]]
) -> None:
    """Append an entry for each (entry id, object id, data)."""
    await _append_many(
        conn,
        [entry_id for entry_id, _, _ in entries],
        act.at,
        act.actor,
        act.action,
        act.object_type,
        [object_id for _, object_id, _ in entries],
        [msgspec.json.encode(data).decode() for _, _, data in entries],
    )


async def page_of_object(
    conn: Connection, object_type: str, object_id: str, *, before_no: int, rows_max: int
) -> list[Recorded]:
    """Return what happened to an object, newest first, below `before_no`."""
    rows = await _page_of_object(conn, object_type, object_id, before_no, rows_max)
    return [Recorded(no=row["audit_no"], entry=_entry(row)) for row in rows]


def _entry(row: Record) -> Entry:
    return Entry(
        id=row["audit_id"],
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        object_type=row["object_type"],
        object_id=row["object_id"],
        data=_data.decode(row["data"]),
    )
