"""What `abaxus verify` finds of some customers, while others go on."""

from collections.abc import Collection

from abaxus_core.domain.findings import Finding
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories.verification import Span
from abaxus_core.services.verification import events, invoices, periods


async def findings_of(database: Database, customer_ids: Collection[str]) -> list[Finding]:
    """Of customers who were made one after another: events, invoices and closed periods."""

    async def look(conn: Connection) -> list[Finding]:
        rows = await conn.fetch(
            "SELECT customer_no, customer_id FROM customers WHERE customer_id = ANY ($1)",
            list(customer_ids),
        )
        span = Span(ids={row["customer_no"]: row["customer_id"] for row in rows})
        found = [finding async for finding in events.findings(conn, span, lambda _count: None)]
        async for page in invoices.pages(conn, span):
            found += [finding async for finding in invoices.findings(conn, page)]
        return found + [finding async for finding in periods.findings(conn, span)]

    return await database.transaction(look, isolation="repeatable_read")
