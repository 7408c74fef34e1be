"""Issued invoices, held against the events, plans and payments that they name."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from abaxus_core.domain import evidence
from abaxus_core.domain.charges import Charge
from abaxus_core.domain.evidence import Evidence, LineEvidence
from abaxus_core.domain.findings import Finding
from abaxus_core.domain.invoices import Invoice, Line
from abaxus_core.domain.periods import Period
from abaxus_core.domain.subscriptions import Terms
from abaxus_core.domain.true_up import NEVER_BILLED, Billed, Usage
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import billing, invoices, metrics, verification
from abaxus_core.repositories.verification import Credit, Span
from abaxus_core.services.rating import Slot, usage_of

INVOICES_AT_ONCE: Final = 100
NO_CREDIT: Final = Credit()


class _Book(msgspec.Struct, frozen=True, kw_only=True):
    """Everything read about some invoices."""

    usage: Mapping[Slot, Usage]
    charges: Mapping[tuple[Terms, str], Charge]
    before: Mapping[tuple[str, int], Billed]
    credits: Mapping[str, Credit]
    collected: Mapping[str, Sequence[evidence.Collected]]


async def pages(conn: Connection, span: Span) -> AsyncIterator[list[Invoice]]:
    """Yield all invoices of customers, some at a time, each customer's in order."""
    after = (span.first_no, 0)
    while page := await invoices.page_of_customers(
        conn, span.first_no, span.last_no, after=after, rows_max=INVOICES_AT_ONCE
    ):
        yield page
        after = (page[-1].customer_no, page[-1].customer_sequence)


async def findings(conn: Connection, issued: Sequence[Invoice]) -> AsyncIterator[Finding]:
    """Yield what of some invoices does not hold."""
    book = await _read(conn, issued)
    for invoice in issued:
        for finding in evidence.findings(invoice, _evidence(book, invoice)):
            yield finding


async def _read(conn: Connection, issued: Sequence[Invoice]) -> _Book:
    ids = [invoice.id for invoice in issued]
    lines = [line for invoice in issued for line in invoice.lines]
    plans = await billing.plans(conn, {_terms(line) for line in lines if line.plan_id is not None})
    known = await metrics.find(conn, {line.metric_key for line in lines if line.metric_key})
    return _Book(
        usage=await usage_of(conn, _slots(issued), known),
        charges={
            (terms, charge.id): charge for terms, plan in plans.items() for charge in plan.charges
        },
        before=await verification.billed_before(conn, ids),
        credits=await verification.credits_of(conn, ids),
        collected=await verification.succeeded_payments(conn, ids),
    )


def _slots(issued: Sequence[Invoice]) -> Iterator[Slot]:
    for invoice in issued:
        for line in invoice.lines:
            slot = slot_of(invoice, line)
            if slot is not None:
                yield slot


def slot_of(invoice: Invoice, line: Line) -> Slot | None:
    """Return what a line counts; None for one without a proof."""
    if line.watermark is None or line.metric_key is None:
        return None
    return Slot(invoice.customer_no, _stretch(line), line.pauses, line.metric_key, line.watermark)


def _stretch(line: Line) -> Period:
    assert line.segment_start is not None, "a watermark comes with a window"
    assert line.segment_end is not None, "a watermark comes with a window"
    assert line.window_end is not None, "a watermark comes with a window"
    end = max(line.segment_start, min(line.segment_end, line.window_end))
    return Period(start=line.segment_start, end=end)


def _terms(line: Line) -> Terms:
    assert line.plan_id is not None, "a charge comes with its plan"
    assert line.plan_version is not None, "a charge comes with its plan's version"
    return Terms(plan_id=line.plan_id, plan_version=line.plan_version)


def _evidence(book: _Book, invoice: Invoice) -> Evidence:
    credit = book.credits.get(invoice.id, NO_CREDIT)
    return Evidence(
        lines=[
            _of_line(book, invoice, line_no, line)
            for line_no, line in enumerate(invoice.lines, start=1)
        ],
        credit_before_minor=credit.before_minor,
        credit_change_minor=credit.change_minor,
        collected=book.collected.get(invoice.id, ()),
    )


def _of_line(book: _Book, invoice: Invoice, line_no: int, line: Line) -> LineEvidence:
    slot = slot_of(invoice, line)
    return LineEvidence(
        counted=None if slot is None else book.usage[slot],
        charge=book.charges.get((_terms(line), line.charge_id)) if line.charge_id else None,
        before=book.before.get((invoice.id, line_no), NEVER_BILLED),
    )
