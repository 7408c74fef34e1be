"""Numbers of invoices: 1, 2, 3 and so on, as many as the counter says."""

from collections.abc import AsyncIterator

from abaxus_core.domain.findings import Finding
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import verification


async def findings(conn: Connection) -> AsyncIterator[Finding]:
    """Yield where numbers of invoices are missing, or the counter is elsewhere."""
    known = await verification.numbers(conn)
    if known.numbered_count != known.invoice_count:
        unnumbered = known.invoice_count - known.numbered_count
        yield _finding("all invoices", "a number each", f"{unnumbered} without")
    if known.counter != known.highest:
        yield _finding("the counter of invoices", str(known.highest), str(known.counter))
    if known.highest != known.numbered_count:
        for before, number in await verification.number_gaps(conn):
            missing = str(before + 1) if number == before + 2 else f"{before + 1} to {number - 1}"
            yield _finding(f"after number {before}", f"number {missing}", f"number {number}")


def _finding(where: str, expected: str, found: str) -> Finding:
    return Finding(invariant="numbers_gapless", where=where, expected=expected, found=found)
