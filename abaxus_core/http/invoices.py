"""Invoices over HTTP: issued one by one or in bulk, listed, collected, mailed, archived."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec

from abaxus_core.domain import invoices as domain
from abaxus_core.domain.instants import parse_day_or_instant
from abaxus_core.domain.invoices import InvoiceStatus
from abaxus_core.http import codec, jobs
from abaxus_core.http.answers import Answer
from abaxus_core.http.audit_entries import AuditEntry, entry_page, read_position
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.invoice_documents import (
    ChargedInvoice,
    Invoice,
    shown,
    shown_charged,
)
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import audit, emails
from abaxus_core.repositories import invoices as repository
from abaxus_core.services import bulk_runs, charging, invoicing, mailing
from abaxus_core.services.work import Work

Reason: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]

_NEWEST = 2**63 - 1
_EVERY_STATUS: tuple[InvoiceStatus, ...] = ("issued", "paid", "archived")


class NewInvoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A day as `cutoff_date` counts whole; a timestamp is excluded, and one within the last second
    before the end of a billing period means that end.

    With `calculation_id` the lines of that calculation are invoiced as they are.
    """

    customer_id: codec.CallerId
    cutoff_date: codec.DayOrInstant
    calculation_id: str | None = None
    idempotency_key: codec.IdempotencyKey | None = None


class NewBulkRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`charge`, `send`: also collect, also mail each invoice that the run issues."""

    cutoff_date: codec.DayOrInstant
    charge: bool = False
    send: bool = False
    idempotency_key: codec.IdempotencyKey | None = None


class Archival(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Reason
    idempotency_key: codec.IdempotencyKey | None = None


class Listed(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: codec.CallerId | None = None
    status: InvoiceStatus | None = None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended: an invoice's number."""

    number: Annotated[int, msgspec.Meta(ge=1, le=_NEWEST)]


async def create(call: Call[NewInvoice, None]) -> Answer:
    order = invoicing.Order(
        customer_id=call.body.customer_id,
        cutoff=parse_day_or_instant(call.body.cutoff_date, "cutoff_date"),
        calculation_id=call.body.calculation_id,
    )

    async def attempt() -> Answer:
        watermark = await invoicing.settled_watermark(call.context)

        async def step(work: Work) -> Invoice:
            return shown(await invoicing.create(work, order, watermark), None)

        return await call.write(201, step)

    return await invoicing.repeated(attempt)


async def create_in_bulk(call: Call[NewBulkRun, None]) -> Answer:
    new = bulk_runs.NewRun(
        cutoff=parse_day_or_instant(call.body.cutoff_date, "cutoff_date"),
        charge=call.body.charge,
        send=call.body.send,
    )

    async def step(work: Work) -> jobs.Job:
        return jobs.job(await bulk_runs.start(work, new))

    return await call.write(202, step)


async def newest(call: Call[None, Listed]) -> Answer:
    query = call.query
    before = _position(query)

    async def step(conn: Connection) -> Page[Invoice]:
        found = await _found(conn, query, before)
        cut = page(found, query.limit, lambda invoice: (invoice.number,))
        return Page(data=await _shown(conn, cut.data), next_cursor=cut.next_cursor)

    return await call.read(step)


async def get(call: Call[None, None]) -> Answer:
    async def step(conn: Connection) -> Invoice:
        (invoice,) = await _shown(conn, [await invoicing.get(conn, call.path["id"])])
        return invoice

    return await call.read(step)


async def charge(call: Call[None, None]) -> Answer:
    invoice_id = call.path["id"]

    async def step() -> tuple[int, ChargedInvoice]:
        result = await charging.charge(call.context, call.actor, invoice_id)
        async with call.context.database.connection() as conn:
            invoice = await invoicing.get(conn, invoice_id)
            mails = await emails.latest_of_invoices(conn, [invoice_id])
        charged = shown_charged(invoice, mails.get(invoice_id), result.payment)
        return (200 if result.settled else 202), charged

    return await call.run(step)


async def send(call: Call[None, None]) -> Answer:
    async def step(work: Work) -> Invoice:
        mail = await mailing.send(call.context, work, call.path["id"])
        return shown(await invoicing.get(work.conn, mail.invoice_id), mail)

    return await call.write(202, step)


async def archive(call: Call[Archival, None]) -> Answer:
    async def step(work: Work) -> Invoice:
        archived = await invoicing.archive(work, call.path["id"], call.body.reason)
        (invoice,) = await _shown(work.conn, [archived])
        return invoice

    return await call.write(200, step)


async def audit_trail(call: Call[None, Paged]) -> Answer:
    query = call.query
    before = read_position(query.cursor)

    async def step(conn: Connection) -> Page[AuditEntry]:
        invoice = await invoicing.get(conn, call.path["id"])
        of_invoice = audit.Filter(object_type="invoice", object_id=invoice.id)
        rows = await audit.page(conn, of_invoice, before_no=before, rows_max=query.limit + 1)
        return entry_page(rows, query.limit)

    return await call.read(step)


def _position(query: Paged) -> int:
    return _NEWEST if query.cursor is None else read_cursor(query.cursor, _Position).number


async def _found(conn: Connection, query: Listed, before: int) -> list[domain.Invoice]:
    rows_max = query.limit + 1
    if query.customer_id is not None:
        statuses = _EVERY_STATUS if query.status is None else (query.status,)
        return await repository.page_of_customer(
            conn, query.customer_id, statuses, before_number=before, rows_max=rows_max
        )
    if query.status is not None:
        return await repository.page_of_status(
            conn, query.status, before_number=before, rows_max=rows_max
        )
    return await repository.page(conn, before_number=before, rows_max=rows_max)


async def _shown(conn: Connection, invoices: Sequence[domain.Invoice]) -> list[Invoice]:
    mails = await emails.latest_of_invoices(conn, [invoice.id for invoice in invoices])
    return [shown(invoice, mails.get(invoice.id)) for invoice in invoices]


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/invoices",
        handler=create,
        scope="write",
        body=NewInvoice,
        answers={201: Invoice},
        errors=(
            "CUSTOMER_NOT_FOUND",
            "CUTOFF_IN_FUTURE",
            "NOTHING_TO_INVOICE",
            "CALCULATION_NOT_FOUND",
            "CALCULATION_MISMATCH",
            "CALCULATION_EXPIRED",
            "CALCULATION_OUTDATED",
            "REQUEST_IN_PROGRESS",
        ),
        example={"customer_id": "acme", "cutoff_date": "2026-04-30"},
        summary="Invoice a customer: what is owed up to the cutoff, less what was billed",
        tag="Invoices",
    ),
    Endpoint(
        method="POST",
        path="/v1/invoices/bulk",
        handler=create_in_bulk,
        scope="write",
        body=NewBulkRun,
        answers={202: jobs.Job},
        errors=("CUTOFF_IN_FUTURE",),
        example={"cutoff_date": "2026-04-30"},
        summary="Invoice everybody in the background: a job",
        tag="Invoices",
    ),
    Endpoint(
        method="GET",
        path="/v1/invoices",
        handler=newest,
        scope="read",
        query=Listed,
        answers={200: Page[Invoice]},
        summary="List invoices, newest first, of all customers or one, of any status or one",
        tag="Invoices",
    ),
    Endpoint(
        method="GET",
        path="/v1/invoices/{id}",
        handler=get,
        scope="read",
        answers={200: Invoice},
        errors=("INVOICE_NOT_FOUND",),
        summary="Read an invoice with its lines",
        tag="Invoices",
    ),
    Endpoint(
        method="POST",
        path="/v1/invoices/{id}/charge",
        handler=charge,
        scope="write",
        answers={200: ChargedInvoice, 202: ChargedInvoice},
        errors=(
            "INVOICE_NOT_FOUND",
            "INVALID_STATE",
            "CHARGE_IN_PROGRESS",
            "NO_PAYMENT_METHOD",
            "PROVIDER_NOT_ENABLED",
            "PAYMENT_DECLINED",
            "PAYMENT_REJECTED",
            "PROVIDER_UNAVAILABLE",
            "CHARGING_PAUSED",
        ),
        summary="Collect an invoice; 202 while the outcome is still to come",
        tag="Invoices",
    ),
    Endpoint(
        method="POST",
        path="/v1/invoices/{id}/send",
        handler=send,
        scope="write",
        answers={202: Invoice},
        errors=(
            "INVOICE_NOT_FOUND",
            "INVALID_STATE",
            "NO_EMAIL_ADDRESS",
            "PROVIDER_NOT_ENABLED",
            "DOCUMENT_TOO_LONG",
        ),
        summary="Mail an invoice to its customer",
        tag="Invoices",
    ),
    Endpoint(
        method="POST",
        path="/v1/invoices/{id}/archive",
        handler=archive,
        scope="write",
        body=Archival,
        answers={200: Invoice},
        errors=("INVOICE_NOT_FOUND", "INVALID_STATE", "CHARGE_IN_PROGRESS"),
        example={"reason": "uncollectible"},
        summary="Give up collecting an issued invoice; its usage stays billed",
        tag="Invoices",
    ),
    Endpoint(
        method="GET",
        path="/v1/invoices/{id}/audit",
        handler=audit_trail,
        scope="read",
        query=Paged,
        answers={200: Page[AuditEntry]},
        errors=("INVOICE_NOT_FOUND",),
        summary="List what happened to an invoice, newest first",
        tag="Invoices",
    ),
)
