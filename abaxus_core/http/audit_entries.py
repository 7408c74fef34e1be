"""Entries of the audit log as lists show them, and pages of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from abaxus_core.http.paging import Page, page, read_cursor
from abaxus_core.repositories.audit import Recorded

_NEWEST = 2**63 - 1


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What happened: `action` is `noun.verb`, `actor` the id of an API key or `system`."""

    id: str
    at: datetime
    actor: str
    action: str
    object_type: str
    object_id: str
    data: dict[str, Any]


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended: an entry's place in the log."""

    no: Annotated[int, msgspec.Meta(ge=1, le=_NEWEST)]


def read_position(cursor: str | None) -> int:
    """The place in the log below which a page begins. Raises InvalidInput."""
    return _NEWEST if cursor is None else read_cursor(cursor, _Position).no


def entry_page(rows: Sequence[Recorded], limit: int) -> Page[AuditEntry]:
    """The first `limit` of the entries, newest first."""
    cut = page(rows, limit, lambda row: (row.no,))
    entries = [AuditEntry(**msgspec.structs.asdict(row.entry)) for row in cut.data]
    return Page(data=entries, next_cursor=cut.next_cursor)
