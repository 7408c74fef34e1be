"""Verifying everything, or one invoice: what does not hold, and how much was looked at.

Everything is looked at in steps, each in a snapshot of its own, while events land and invoices are
issued: what is compared is of one instant, and no snapshot grows old.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final, Protocol

import msgspec

from abaxus_core.domain.audit_seals import Head
from abaxus_core.domain.findings import Finding
from abaxus_core.domain.invoices import Invoice
from abaxus_core.errors import Conflict
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import verification
from abaxus_core.repositories.verification import Span
from abaxus_core.services import invoicing
from abaxus_core.services.verification import (
    audit_chain,
    entitlements,
    events,
    invoices,
    numbers,
    periods,
    proofs,
)

CUSTOMERS_AT_ONCE: Final = 100
FINDINGS_MAX: Final = 1_000
EVENTS_PER_REQUEST_MAX: Final = 250_000


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and what does not hold; `cut_off` where it stopped at FINDINGS_MAX.

    `audit_head`: the last seal of the audit log, to be compared with what was logged of it.
    """

    invoice_count: int
    event_count: int
    audit_entry_count: int
    audit_head: Head | None
    findings: list[Finding]
    cut_off: bool


class Meter(Protocol):
    """Is told how much there is to look at, and how much of it has been."""

    def begins(self, count: int) -> None: ...

    def moved(self, count: int) -> None: ...


async def everything(database: Database, meter: Meter, *, now: datetime) -> Report:
    """Look at all invoices, events and rollups of a mode, at the numbers and the audit log.

    Entitlements are looked at from `now` on.
    """
    run = _Run(database, meter)
    async with database.connection() as conn:
        sizes = await verification.sizes(conn)
        meter.begins(sizes.invoice_count + sizes.event_count + await audit_chain.size(conn))
        await run.audit_log(conn)
    await run.step(numbers.findings)
    last_no = 0
    while span := await _next_span(database, last_no):
        await run.step(run.of_customers(span, now))
        last_no = span.last_no
    return run.report()


async def one(database: Database, invoice_id: str, *, events_max: int | None = None) -> Report:
    """Look at one invoice and the events behind it.

    Raises INVOICE_NOT_FOUND, and TOO_MANY_EVENTS where its lines count more than `events_max`.
    """
    async with database.connection() as conn:
        invoice = await invoicing.get(conn, invoice_id)
    event_count = proofs.event_count(invoice.lines)
    if events_max is not None and event_count > events_max:
        raise Conflict(
            f"its lines count {event_count:,} events, more than one request looks at; "
            f"run abaxus verify --invoice {invoice_id}",
            code="TOO_MANY_EVENTS",
        )
    run = _Run(database, Unseen())
    await run.step(run.of_invoice(invoice_id))
    return run.report()


async def _next_span(database: Database, after_no: int) -> Span | None:
    async with database.connection() as conn:
        return await verification.customers_after(conn, after_no, rows_max=CUSTOMERS_AT_ONCE)


class Unseen:
    """A meter that nobody looks at."""

    def begins(self, count: int) -> None:
        pass

    def moved(self, count: int) -> None:
        pass


class _Run:
    def __init__(self, database: Database, meter: Meter) -> None:
        self._database = database
        self._meter = meter
        self._findings: list[Finding] = []
        self._cut_off = False
        self._invoice_count = 0
        self._event_count = 0
        self._audit_entry_count = 0
        self._audit_head: Head | None = None

    async def audit_log(self, conn: Connection) -> None:
        """Look at the audit log, which needs no snapshot: it only grows."""
        self._audit_head = await audit_chain.head(conn)
        await self._collect(audit_chain.findings(conn, self._saw_entries))

    async def step(self, findings_of: Callable[[Connection], AsyncIterator[Finding]]) -> None:
        """Look at something in one snapshot; at nothing once there are enough findings."""
        if not self._cut_off:
            await self._database.transaction(
                lambda conn: self._collect(findings_of(conn)), isolation="repeatable_read"
            )

    async def _collect(self, findings: AsyncIterator[Finding]) -> None:
        async for finding in findings:
            if len(self._findings) == FINDINGS_MAX:
                self._cut_off = True
                return
            self._findings.append(finding)

    def of_customers(
        self, span: Span, now: datetime
    ) -> Callable[[Connection], AsyncIterator[Finding]]:
        async def findings(conn: Connection) -> AsyncIterator[Finding]:
            async for finding in events.findings(conn, span, self._saw_events):
                yield finding
            async for page in invoices.pages(conn, span):
                async for finding in invoices.findings(conn, page):
                    yield finding
                self._saw_invoices(page)
            async for finding in periods.findings(conn, span):
                yield finding
            async for finding in entitlements.findings(conn, span, now=now):
                yield finding

        return findings

    def of_invoice(self, invoice_id: str) -> Callable[[Connection], AsyncIterator[Finding]]:
        async def findings(conn: Connection) -> AsyncIterator[Finding]:
            invoice = await invoicing.get(conn, invoice_id)
            async for finding in invoices.findings(conn, [invoice]):
                yield finding
            async for finding in proofs.findings(conn, invoice):
                yield finding
            self._saw_invoices([invoice])
            self._saw_events(proofs.event_count(invoice.lines))

        return findings

    def _saw_entries(self, count: int) -> None:
        self._audit_entry_count += count
        self._meter.moved(count)

    def _saw_events(self, count: int) -> None:
        self._event_count += count
        self._meter.moved(count)

    def _saw_invoices(self, page: list[Invoice]) -> None:
        self._invoice_count += len(page)
        self._meter.moved(len(page))

    def report(self) -> Report:
        return Report(
            invoice_count=self._invoice_count,
            event_count=self._event_count,
            audit_entry_count=self._audit_entry_count,
            audit_head=self._audit_head,
            findings=self._findings,
            cut_off=self._cut_off,
        )
