"""What stands behind a line of an invoice: the raw events that it counts."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from abaxus_core.domain.invoices import Invoice, Line
from abaxus_core.errors import NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import events
from abaxus_core.repositories.events import LinePage, StoredEvent
from abaxus_core.services import invoicing
from abaxus_core.services.usage import ARRIVAL_MAX

EVENTS_AT_ONCE: Final = 5_000


class LineEvents(msgspec.Struct, frozen=True, kw_only=True):
    customer_id: str
    events: Sequence[StoredEvent]


async def list_events(
    conn: Connection,
    invoice_id: str,
    line_no: int,
    *,
    before: tuple[datetime, int] | None,
    rows_max: int,
) -> LineEvents:
    """Return the events that a line counts, newest first, those below `before`.

    Lines count from 1. None where a line has no proof. Raises INVOICE_NOT_FOUND, LINE_NOT_FOUND.
    """
    invoice = await invoicing.get(conn, invoice_id)
    line = _line(invoice, line_no)
    if line.watermark is None:
        return LineEvents(customer_id=invoice.customer_id, events=())
    page = _page(invoice.customer_no, line, line.watermark, before, rows_max)
    return LineEvents(customer_id=invoice.customer_id, events=await events.page_of_line(conn, page))


async def events_behind(
    conn: Connection, invoice: Invoice, line: Line
) -> AsyncIterator[list[StoredEvent]]:
    """Yield all events that a line counts, some at a time, newest first."""
    before: tuple[datetime, int] | None = None
    while line.watermark is not None:
        asked = _page(invoice.customer_no, line, line.watermark, before, EVENTS_AT_ONCE)
        if page := await events.page_of_line(conn, asked):
            yield page
        if len(page) < EVENTS_AT_ONCE:
            return
        before = page[-1].occurred_at, page[-1].arrival_no


def _line(invoice: Invoice, line_no: int) -> Line:
    if line_no > len(invoice.lines):
        raise NotFound(f"{invoice.id} has no line {line_no}", code="LINE_NOT_FOUND")
    return invoice.lines[line_no - 1]


def _page(
    customer_no: int,
    line: Line,
    watermark: int,
    before: tuple[datetime, int] | None,
    rows_max: int,
) -> LinePage:
    assert line.segment_start is not None, "a watermark comes with a window"
    assert line.segment_end is not None, "a watermark comes with a window"
    assert line.window_end is not None, "a watermark comes with a window"
    end = min(line.segment_end, line.window_end)
    before_at, before_no = before or (end, ARRIVAL_MAX)
    return LinePage(
        customer_no=customer_no,
        metric_key=line.metric_key,
        start=line.segment_start,
        end=end,
        pauses=line.pauses,
        watermark=watermark,
        before_at=before_at,
        before_no=before_no,
        rows_max=rows_max,
    )
