"""Proofs of lines: the events behind each, fingerprinted again one by one."""

from collections.abc import AsyncIterator

from abaxus_core.domain.digest import digest_text
from abaxus_core.domain.evidence import name_of
from abaxus_core.domain.findings import Finding
from abaxus_core.domain.invoices import Invoice, Line
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import metrics
from abaxus_core.repositories.events import StoredEvent
from abaxus_core.services.invoice_lines import events_behind
from abaxus_core.services.verification.fingerprints import fingerprint


async def findings(conn: Connection, invoice: Invoice) -> AsyncIterator[Finding]:
    """Yield where the events of a line are not the ones that the line was made of."""
    known = await metrics.find(conn, {line.metric_key for line in invoice.lines if line.metric_key})
    for line_no, line in enumerate(invoice.lines, start=1):
        if line.digest is None or line.metric_key is None:
            continue
        metric_no = known[line.metric_key].metric_no
        total = 0
        async for page in events_behind(conn, invoice, line):
            total += _sum(invoice, metric_no, page)
        expected, found = digest_text(total), digest_text(line.digest)
        if expected != found:
            yield Finding(
                invariant="line_matches_events",
                where=name_of(invoice, line_no),
                expected=f"digest {expected} of the events as they are",
                found=found,
            )


def _sum(invoice: Invoice, metric_no: int, page: list[StoredEvent]) -> int:
    return sum(fingerprint(invoice.customer_id, metric_no, event).payload_hash for event in page)


def event_count(lines: tuple[Line, ...]) -> int:
    """Return how many events lines count together."""
    return sum(line.event_count or 0 for line in lines)
