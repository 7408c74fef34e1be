"""Invoicing: from statements to issued invoices, and an invoice's life but for its collection.

Whatever races, a customer's usage is invoiced once: the constraints refuse whoever comes second,
and `repeated` starts over from the state that the first one left (docs/decisions/0005-true-up.md).
Rating is rating.py's, bulk runs are bulk_runs.py's, money from providers is charging.py's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

import msgspec

from abaxus_core.domain.invoices import Invoice, check_transition, draft
from abaxus_core.domain.periods import resolve_cutoff, snap
from abaxus_core.domain.statements import check_cutoff
from abaxus_core.errors import Conflict, InvalidInput, InvariantBroken, NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import amendments as amendment_rows
from abaxus_core.repositories import billing, calculations, invoices, payments, watermarks
from abaxus_core.repositories.calculations import Calculation
from abaxus_core.repositories.invoices import AnotherCameFirst, NewInvoice
from abaxus_core.services import amendments, audit, customers
from abaxus_core.services.rating import Statement, statements
from abaxus_core.services.sheets import Ask
from abaxus_core.services.work import Context, Work

T = TypeVar("T")

INBOX_POLL_MS = 20
INBOX_POLLS_MAX = 250
ATTEMPTS_MAX = 5


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to invoice a customer for: all that is due at the cutoff, or a calculation."""

    customer_id: str
    cutoff: date | datetime
    calculation_id: str | None = None


async def settled_watermark(context: Context) -> int:
    """Return a watermark that covers the events accepted by now, where they land in time.

    Read it before the transaction that rates.
    """
    await settle_inbox(context)
    async with context.database.connection() as conn:
        return await watermarks.read(conn)


async def settle_inbox(context: Context) -> None:
    """Give the events accepted by now INBOX_POLLS_MAX × INBOX_POLL_MS to land.

    What is later is trued up.
    """
    async with context.database.connection() as conn:
        newest = await billing.newest_inbox_row(conn)
    for _ in range(INBOX_POLLS_MAX):
        async with context.database.connection() as conn:
            if newest is None or not await billing.inbox_has_until(conn, newest):
                return
        await asyncio.sleep(INBOX_POLL_MS / 1000)


async def repeated(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return the result of `attempt`, a transaction, run again while another invoice came first.

    ATTEMPTS_MAX times in all; then AnotherCameFirst is the caller's.
    """
    for _ in range(1, ATTEMPTS_MAX):
        try:
            return await attempt()
        except AnotherCameFirst:
            continue
    return await attempt()


async def create(work: Work, order: Order, watermark: int) -> Invoice:
    """Issue what is due to a customer at the cutoff, or the lines of a calculation as they are.

    Raises NOTHING_TO_INVOICE, and AnotherCameFirst for `repeated` to catch. Ends by locking the
    invoice counter, so nothing slow may follow in the transaction.
    """
    customer = await customers.get(work.conn, order.customer_id)
    cutoff = resolve_cutoff(order.cutoff, work.now)
    await amendments.apply_due_of_customers(work, [customer.customer_no])
    if order.calculation_id is None:
        ask = Ask(cutoff=cutoff, watermark=watermark)
        (statement,) = await statements(work.conn, [customer.customer_no], ask)
    else:
        calculation = await _usable_calculation(work, order.calculation_id)
        _check_match(calculation, customer.customer_no, cutoff)
        statement = await _statement_of(work.conn, calculation)
    check_cutoff(statement.cutoff, statement.account.last_cutoff)
    if not statement.lines:
        raise Conflict(
            f"nothing is new for {customer.id} at this cutoff", code="NOTHING_TO_INVOICE"
        )
    return await _issue_one(work, statement, order.calculation_id)


async def _usable_calculation(work: Work, calculation_id: str) -> Calculation:
    calculation = await calculations.get(work.conn, calculation_id)
    if calculation is None:
        raise NotFound(
            f"there is no calculation {calculation_id}",
            code="CALCULATION_NOT_FOUND",
            field="calculation_id",
        )
    if calculation.expires_at <= work.now:
        raise InvalidInput(
            "was made more than 24 hours ago; calculate again",
            code="CALCULATION_EXPIRED",
            field="calculation_id",
        )
    return calculation


def _check_match(calculation: Calculation, customer_no: int, cutoff: datetime) -> None:
    if calculation.customer_no != customer_no:
        message = "is another customer's"
    elif snap(cutoff, calculation.period_end) != calculation.period_end:
        message = "ends at another instant than cutoff_date"
    else:
        return
    raise InvalidInput(message, code="CALCULATION_MISMATCH", field="calculation_id")


async def _statement_of(conn: Connection, calculation: Calculation) -> Statement:
    """The calculation as a statement, its credit aside: the same credit is taken again.

    It moves no marks, for it may cover a part of what is due.
    """
    (account,) = await billing.accounts(conn, [calculation.customer_no])
    if account.last_sequence != calculation.customer_sequence:
        raise Conflict(
            "the customer was invoiced since this was calculated; calculate again",
            code="CALCULATION_OUTDATED",
            field="calculation_id",
        )
    applied = await amendment_rows.count_applied(conn, calculation.customer_no)
    if applied != calculation.amendments_applied:
        raise Conflict(
            "a subscription was amended since this was calculated; calculate again",
            code="CALCULATION_OUTDATED",
            field="calculation_id",
        )
    credit = await billing.credits_of(conn, [calculation.customer_no])
    return Statement(
        account=account,
        cutoff=calculation.period_end,
        watermark=0,
        lines=tuple(line for line in calculation.lines if line.charge_id is not None),
        marks=(),
        credit_minor=credit.get(calculation.customer_no, 0),
    )


async def _issue_one(work: Work, statement: Statement, calculation_id: str | None) -> Invoice:
    new = new_invoice(work, statement, calculation_id)
    await issue(work, [new])
    await advance(work, [statement])
    numbers = await invoices.number_many(work.conn, [new.id])
    return Invoice(
        id=new.id,
        number=numbers[new.id],
        customer_no=new.customer_no,
        customer_id=statement.account.customer_id,
        customer_sequence=new.customer_sequence,
        status="issued",
        currency=new.currency,
        total_minor=new.draft.total_minor,
        period_start=new.draft.period_start,
        period_end=new.draft.period_end,
        cutoff=new.cutoff,
        calculation_id=calculation_id,
        created_at=work.now,
        lines=new.draft.lines,
    )


def new_invoice(work: Work, statement: Statement, calculation_id: str | None = None) -> NewInvoice:
    """Return the invoice that follows the customer's last one, with the statement's lines."""
    account = statement.account
    if account.currency is None:
        raise InvariantBroken(f"{account.customer_id} has lines and no currency")
    return NewInvoice(
        id=work.ids.new("inv"),
        customer_no=account.customer_no,
        customer_id=account.customer_id,
        customer_sequence=account.last_sequence + 1,
        currency=account.currency,
        cutoff=statement.cutoff,
        calculation_id=calculation_id,
        draft=draft(
            statement.lines, currency=account.currency, credit_minor=statement.credit_minor
        ),
    )


async def issue(work: Work, new: Sequence[NewInvoice]) -> None:
    """Store invoices but for their numbers, which the caller takes last in the transaction."""
    if not new:
        return
    await invoices.insert_many(work.conn, new, work.now, work.seller)
    await audit.record_many(
        work,
        action="invoice.issued",
        object_type="invoice",
        data={one.id: _issued(one) for one in new},
    )


def _issued(new: NewInvoice) -> dict[str, object]:
    return {
        "customer_id": new.customer_id,
        "total_amount": new.draft.total_minor,
        "currency": new.currency,
        "cutoff": new.cutoff,
        "calculation_id": new.calculation_id,
    }


async def advance(work: Work, rated: Sequence[Statement]) -> None:
    """Move the marks of the subscriptions of one rating: what was rated need not be again.

    Raises AnotherCameFirst where an amendment did.
    """
    marks = [mark for statement in rated for mark in statement.marks]
    if marks and not await billing.mark(
        work.conn,
        marks,
        rated_watermark=rated[0].watermark,
        rated_on=work.now.astimezone(UTC).date(),
    ):
        raise AnotherCameFirst("a subscription was amended while it was rated")


async def get(conn: Connection, invoice_id: str) -> Invoice:
    """Return an invoice with its lines. Raises INVOICE_NOT_FOUND."""
    return _found(await invoices.get(conn, invoice_id), invoice_id)


async def archive(work: Work, invoice_id: str, reason: str) -> Invoice:
    """Give up collecting an issued invoice; its usage stays billed.

    Raises INVALID_STATE when it is paid or archived, CHARGE_IN_PROGRESS while an attempt to
    collect it may still move money.
    """
    invoice = _found(await invoices.lock(work.conn, invoice_id), invoice_id)
    check_transition(invoice.status, "archived")
    if await payments.live_of_invoice(work.conn, invoice_id) is not None:
        raise Conflict(
            "an attempt to collect this invoice is not settled yet", code="CHARGE_IN_PROGRESS"
        )
    await invoices.archive(work.conn, invoice_id, at=work.now, reason=reason)
    await audit.record(
        work,
        action="invoice.archived",
        object_type="invoice",
        object_id=invoice_id,
        data={"reason": reason},
    )
    return await get(work.conn, invoice_id)


def _found(invoice: Invoice | None, invoice_id: str) -> Invoice:
    if invoice is None:
        raise NotFound(f"there is no invoice {invoice_id}", code="INVOICE_NOT_FOUND")
    return invoice
