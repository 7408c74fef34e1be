"""Invoices: issued in sets, read back with their lines, moved from one status to another.

Issued rows never change but in status. What the constraints refuse comes out as domain errors.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from abaxus_core.domain.invoices import Draft, Invoice, InvoiceStatus, Line, PaymentStatus
from abaxus_core.domain.parties import Buyer, Parties, Seller
from abaxus_core.domain.periods import Period
from abaxus_core.domain.pricing import Step, TierShare
from abaxus_core.domain.true_up import ChargeKey
from abaxus_core.errors import Conflict, InvariantBroken
from abaxus_core.kernel.database import Connection, Record
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories.constraints import violated

_sql = queries("invoices")
_insert_many = _sql.exec("insert_many")
_insert_lines = _sql.exec("insert_lines")
_insert_credits = _sql.exec("insert_credits")
_number_many = _sql.many("number_many")
_get = _sql.maybe("get")
_parties = _sql.maybe("parties")
_lock = _sql.maybe("lock")
_lines = _sql.many("lines")
_latest_lines = _sql.many("latest_lines")
_page = _sql.many("page")
_page_of_status = _sql.many("page_of_status")
_page_of_customer = _sql.many("page_of_customer")
_page_of_customers = _sql.many("page_of_customers")
_archive = _sql.exec("archive")
_mark_paid = _sql.exec("mark_paid")
_set_payment_status = _sql.exec("set_payment_status")

LINES_AT_ONCE_MAX = 5_000

_seller = msgspec.json.Decoder(Seller)
_step = msgspec.json.Decoder(Step)
_breakdown = msgspec.json.Decoder(tuple[TierShare, ...])
_pauses = msgspec.json.Decoder(tuple[Period, ...])

_ONCE_ONLY = frozenset({"invoices_customer_sequence_once", "invoice_lines_billed_once"})


class AnotherCameFirst(Conflict):
    """The customer was invoiced since the state that this invoice was computed from."""

    default_code = "REQUEST_IN_PROGRESS"


class NewInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice to issue: the one after the customer's `customer_sequence - 1`."""

    id: str
    customer_no: int
    customer_id: str
    customer_sequence: int
    currency: str
    cutoff: datetime
    calculation_id: str | None
    draft: Draft


async def insert_many(
    conn: Connection, invoices: Sequence[NewInvoice], created_at: datetime, seller: Seller
) -> None:
    """Store invoices, lines and credits, without numbers yet: `number_many` comes last.

    `seller`, and the customers as they are now, are kept with them.

    Raises AnotherCameFirst where a customer has been invoiced meanwhile; waits for whoever is at
    it. The transaction has to be run again from its start then.
    """
    try:
        await _insert_headers(conn, invoices, created_at, seller)
        await _insert_all_lines(conn, invoices)
    except asyncpg.UniqueViolationError as error:
        if violated(error) not in _ONCE_ONLY:
            raise
        message = "the customer was invoiced by another request just now; try again"
        raise AnotherCameFirst(message) from error
    await _insert_moved_credits(conn, invoices, created_at)


async def _insert_headers(
    conn: Connection, invoices: Sequence[NewInvoice], created_at: datetime, seller: Seller
) -> None:
    await _insert_many(
        conn,
        [invoice.id for invoice in invoices],
        [invoice.customer_no for invoice in invoices],
        [invoice.customer_sequence for invoice in invoices],
        [invoice.currency for invoice in invoices],
        [invoice.draft.total_minor for invoice in invoices],
        [invoice.draft.period_start for invoice in invoices],
        [invoice.draft.period_end for invoice in invoices],
        [invoice.cutoff for invoice in invoices],
        [invoice.calculation_id for invoice in invoices],
        created_at,
        msgspec.json.encode(seller).decode(),
    )


async def _insert_all_lines(conn: Connection, invoices: Sequence[NewInvoice]) -> None:
    rows = [
        _line_row(invoice.id, line_no, line)
        for invoice in invoices
        for line_no, line in enumerate(invoice.draft.lines, start=1)
    ]
    for start in range(0, len(rows), LINES_AT_ONCE_MAX):
        batch = rows[start : start + LINES_AT_ONCE_MAX]
        await _insert_lines(conn, msgspec.json.encode(batch).decode())


def _line_row(invoice_id: str, line_no: int, line: Line) -> dict[str, Any]:
    row = msgspec.structs.asdict(line)
    # A sum of hashes or money may outgrow 64 bits, and with them a JSON integer of msgspec's.
    for column in ("amount_minor", "owed_minor", "previously_billed_minor", "digest"):
        row[column] = None if row[column] is None else str(row[column])
    return {"invoice_id": invoice_id, "line_no": line_no, **row}


async def _insert_moved_credits(
    conn: Connection, invoices: Sequence[NewInvoice], created_at: datetime
) -> None:
    moved = [invoice for invoice in invoices if invoice.draft.credit_change_minor != 0]
    if moved:
        await _insert_credits(
            conn,
            [invoice.id for invoice in moved],
            [invoice.customer_no for invoice in moved],
            [invoice.draft.credit_change_minor for invoice in moved],
            created_at,
        )


async def number_many(conn: Connection, invoice_ids: Sequence[str]) -> dict[str, int]:
    """Return the numbers that the invoices are given, the next ones in their order.

    Locks the counter until the transaction ends: run it last.
    """
    if not invoice_ids:
        return {}
    numbers = {row["invoice_id"]: row["number"] for row in await _number_many(conn, invoice_ids)}
    if len(numbers) != len(invoice_ids):
        raise InvariantBroken("every invoice that is issued takes a number")
    return numbers


async def get(conn: Connection, invoice_id: str) -> Invoice | None:
    """Return an invoice with its lines."""
    row = await _get(conn, invoice_id)
    return None if row is None else (await _with_lines(conn, [row]))[0]


async def parties(conn: Connection, invoice_id: str) -> Parties | None:
    """Return who issued an invoice and to whom, as they were then."""
    row = await _parties(conn, invoice_id)
    if row is None:
        return None
    return Parties(
        seller=_seller.decode(row["seller"] or b"{}"),
        buyer=Buyer(id=row["customer_id"], name=row["buyer_name"], email=row["buyer_email"]),
    )


async def lock(conn: Connection, invoice_id: str) -> Invoice | None:
    """Return an invoice, without lines, held against other changes until the transaction ends."""
    row = await _lock(conn, invoice_id)
    return None if row is None else _invoice(row, ())


async def page(conn: Connection, *, before_number: int, rows_max: int) -> list[Invoice]:
    """Return invoices, newest first, those numbered below `before_number`, with their lines."""
    return await _with_lines(conn, await _page(conn, before_number, rows_max))


async def page_of_status(
    conn: Connection, status: InvoiceStatus, *, before_number: int, rows_max: int
) -> list[Invoice]:
    """The same of one status."""
    return await _with_lines(conn, await _page_of_status(conn, status, before_number, rows_max))


async def page_of_customer(
    conn: Connection,
    customer_id: str,
    statuses: Sequence[InvoiceStatus],
    *,
    before_number: int,
    rows_max: int,
) -> list[Invoice]:
    """The same of one customer and some statuses; nobody's is an empty list."""
    rows = await _page_of_customer(conn, customer_id, statuses, before_number, rows_max)
    return await _with_lines(conn, rows)


async def page_of_customers(
    conn: Connection, first_no: int, last_no: int, *, after: tuple[int, int], rows_max: int
) -> list[Invoice]:
    """Return what customers with numbers from one to another were issued, with the lines.

    Oldest first, those after a customer's number and the invoice's sequence.
    """
    rows = await _page_of_customers(conn, first_no, last_no, *after, rows_max)
    return await _with_lines(conn, rows)


async def archive(conn: Connection, invoice_id: str, *, at: datetime, reason: str) -> bool:
    """Return whether that changed anything: only an issued invoice is archived."""
    return await _archive(conn, invoice_id, at, reason) > 0


async def mark_paid(conn: Connection, invoice_id: str, at: datetime) -> bool:
    """Return whether that changed anything: only an issued invoice becomes paid."""
    return await _mark_paid(conn, invoice_id, at) > 0


async def set_payment_status(conn: Connection, invoice_id: str, status: PaymentStatus) -> bool:
    """Return whether that changed anything: only an issued invoice is being collected."""
    return await _set_payment_status(conn, invoice_id, status) > 0


async def _with_lines(conn: Connection, rows: Sequence[Record]) -> list[Invoice]:
    lines: defaultdict[str, list[Line]] = defaultdict(list)
    for row in await _lines(conn, [row["invoice_id"] for row in rows]):
        lines[row["invoice_id"]].append(_line(row))
    return [_invoice(row, tuple(lines[row["invoice_id"]])) for row in rows]


async def latest_lines(conn: Connection, keys: Sequence[ChargeKey]) -> dict[ChargeKey, Line]:
    """Return the last line that each of these was billed by."""
    rows = await _latest_lines(
        conn,
        [key.subscription_id for key in keys],
        [key.period_start for key in keys],
        [key.segment_start for key in keys],
        [key.charge_id for key in keys],
    )
    return {charge_key(row): _line(row) for row in rows}


def charge_key(row: Record) -> ChargeKey:
    """Return what a row that has the columns of a line's key was billed under."""
    return ChargeKey(
        subscription_id=row["subscription_id"],
        period_start=row["period_start"],
        segment_start=row["segment_start"],
        charge_id=row["charge_id"],
    )


def _invoice(row: Record, lines: tuple[Line, ...]) -> Invoice:
    return Invoice(
        id=row["invoice_id"],
        number=row["number"],
        customer_no=row["customer_no"],
        customer_id=row["customer_id"],
        customer_sequence=row["customer_sequence"],
        status=row["status"],
        payment_status=row["payment_status"],
        currency=row["currency"],
        total_minor=int(row["total_minor"]),
        period_start=row["period_start"],
        period_end=row["period_end"],
        cutoff=row["cutoff"],
        calculation_id=row["calculation_id"],
        archive_reason=row["archive_reason"],
        created_at=row["created_at"],
        paid_at=row["paid_at"],
        archived_at=row["archived_at"],
        lines=lines,
    )


def _line(row: Record) -> Line:
    return Line(
        kind=row["kind"],
        description=row["description"],
        exact_amount=row["exact_amount"],
        amount_minor=int(row["amount_minor"]),
        charge_id=row["charge_id"],
        pricing_model=row["pricing_model"],
        metric_key=row["metric_key"],
        subscription_id=row["subscription_id"],
        plan_id=row["plan_id"],
        plan_version=row["plan_version"],
        period_start=row["period_start"],
        period_end=row["period_end"],
        segment_start=row["segment_start"],
        segment_end=row["segment_end"],
        window_end=row["window_end"],
        pauses=_pauses.decode(row["pauses"]),
        revision=row["revision"],
        quantity=row["quantity"],
        owed_minor=_whole(row["owed_minor"]),
        previously_billed_minor=_whole(row["previously_billed_minor"]),
        step=row["step"] and _step.decode(row["step"]),
        tier_breakdown=row["tier_breakdown"] and _breakdown.decode(row["tier_breakdown"]),
        event_count=row["event_count"],
        digest=_whole(row["digest"]),
        watermark=row["watermark"],
    )


def _whole(number: Any) -> int | None:
    return None if number is None else int(number)
