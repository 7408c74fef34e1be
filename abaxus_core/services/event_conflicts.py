"""Event conflicts: for an operator to see what callers sent twice, and not the same."""

from collections.abc import Sequence

from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import event_conflicts
from abaxus_core.repositories.event_conflicts import EventConflict
from abaxus_core.services import customers


async def newest(
    conn: Connection, customer_id: str | None, *, before_no: int, rows_max: int
) -> Sequence[EventConflict]:
    """Return those below `before_no`, newest first. Raises CUSTOMER_NOT_FOUND."""
    customer_no = None
    if customer_id is not None:
        customer_no = (await customers.get(conn, customer_id)).customer_no
    return await event_conflicts.page(conn, customer_no, before_no=before_no, rows_max=rows_max)
