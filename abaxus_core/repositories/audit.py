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
_page = _sql.many("page")
_page_of_object = _sql.many("page_of_object")
_page_of_action = _sql.many("page_of_action")
_page_of_actor = _sql.many("page_of_actor")
_page_of_type = _sql.many("page_of_type")

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


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries; None: any. An `object_id` comes with its `object_type`."""

    object_type: str | None = None
    object_id: str | None = None
    action: str | None = None
    actor: str | None = None


async def page(
    conn: Connection, wanted: Filter, *, before_no: int, rows_max: int
) -> list[Recorded]:
    """Return what happened, newest first, below `before_no`."""
    rows = await _rows(conn, wanted, before_no, rows_max)
    return [Recorded(no=row["audit_no"], entry=_entry(row)) for row in rows]


async def _rows(
    conn: Connection, wanted: Filter, before_no: int, rows_max: int
) -> Sequence[Record]:
    """By the index of the narrowest that is asked."""
    of_type, action, actor = wanted.object_type, wanted.action, wanted.actor
    if wanted.object_id is not None:
        return await _page_of_object(
            conn, of_type, wanted.object_id, action, actor, before_no, rows_max
        )
    if action is not None:
        return await _page_of_action(conn, action, of_type, actor, before_no, rows_max)
    if actor is not None:
        return await _page_of_actor(conn, actor, of_type, before_no, rows_max)
    if of_type is not None:
        return await _page_of_type(conn, of_type, before_no, rows_max)
    return await _page(conn, before_no, rows_max)


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
