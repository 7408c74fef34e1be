"""Event conflicts: what came second under a key, read newest first. Recording is events.py's."""

from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("event_conflicts")
_page = _sql.many("page")
_page_of_customer = _sql.many("page_of_customer")


class EventConflict(msgspec.Struct, frozen=True, kw_only=True):
    """The payload that is not stored. `properties` is JSON text."""

    conflict_no: int
    customer_id: str
    metric_key: str
    idempotency_key: str
    value: Decimal
    occurred_at: datetime
    subscription_id: str | None
    properties: str
    received_at: datetime


async def page(
    conn: Connection, customer_no: int | None, *, before_no: int, rows_max: int
) -> list[EventConflict]:
    """Return those below `before_no`, newest first; of all customers where none is given."""
    if customer_no is None:
        rows = await _page(conn, before_no, rows_max)
    else:
        rows = await _page_of_customer(conn, customer_no, before_no, rows_max)
    return [EventConflict(**dict(row)) for row in rows]
