"""Payments over HTTP: attempts to collect invoices, listed, read, resolved by hand."""

from typing import Annotated, Final, TypeAlias

import msgspec

from abaxus_core.domain import payments as domain
from abaxus_core.domain.payments import Decision
from abaxus_core.http import codec
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.http.payment_documents import Payment, PaymentOutcome, shown_payment, states_of
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import payments as repository
from abaxus_core.services import invoicing, payments
from abaxus_core.services.work import Work

InvoiceId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Note: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]

# Above every id: ids are lower-case letters, digits and underscores.
_NEWEST: Final = "~"


class Listed(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of these fit."""

    invoice_id: InvoiceId | None = None
    status: PaymentOutcome | None = None


class Resolution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator found out at the provider, and where: `note` is kept in the audit log.

    `look_again` settles nothing: the provider is asked once more, as after an account that was
    missing from the configuration is back.
    """

    outcome: Decision
    note: Note
    idempotency_key: codec.IdempotencyKey | None = None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended: a payment's id."""

    payment_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


async def newest(call: Call[None, Listed]) -> Answer:
    query = call.query
    before = _position(query)

    async def step(conn: Connection) -> Page[Payment]:
        return _shown(await _found(conn, query, before), query)

    return await call.read(step)


async def of_invoice(call: Call[None, Paged]) -> Answer:
    query = call.query
    before = _position(query)

    async def step(conn: Connection) -> Page[Payment]:
        invoice = await invoicing.get(conn, call.path["id"])
        rows = await repository.page_of_invoice(
            conn, invoice.id, states_of(None), before_id=before, rows_max=query.limit + 1
        )
        return _shown(rows, query)

    return await call.read(step)


async def get(call: Call[None, None]) -> Answer:
    async def step(conn: Connection) -> Payment:
        return shown_payment(await payments.get(conn, call.path["id"]))

    return await call.read(step)


async def resolve(call: Call[Resolution, None]) -> Answer:
    wanted = call.body

    async def step(work: Work) -> Payment:
        payment_id = call.path["id"]
        return shown_payment(await payments.resolve(work, payment_id, wanted.outcome, wanted.note))

    return await call.write(200, step)


def _position(query: Paged) -> str:
    return _NEWEST if query.cursor is None else read_cursor(query.cursor, _Position).payment_id


async def _found(conn: Connection, query: Listed, before: str) -> list[domain.Payment]:
    rows_max = query.limit + 1
    states = states_of(query.status)
    if query.invoice_id is not None:
        return await repository.page_of_invoice(
            conn, query.invoice_id, states, before_id=before, rows_max=rows_max
        )
    if query.status is not None:
        return await repository.page_of_states(conn, states, before_id=before, rows_max=rows_max)
    return await repository.page(conn, before_id=before, rows_max=rows_max)


def _shown(rows: list[domain.Payment], query: Paged) -> Page[Payment]:
    cut = page(rows, query.limit, lambda payment: (payment.id,))
    return Page(data=[shown_payment(row) for row in cut.data], next_cursor=cut.next_cursor)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/payments",
        handler=newest,
        scope="read",
        query=Listed,
        answers={200: Page[Payment]},
        summary="List payments, newest first, of all invoices or one, of any status or one",
        tag="Payments",
    ),
    Endpoint(
        method="GET",
        path="/v1/payments/{id}",
        handler=get,
        scope="read",
        answers={200: Payment},
        errors=("PAYMENT_NOT_FOUND",),
        summary="Read one attempt to collect an invoice",
        tag="Payments",
    ),
    Endpoint(
        method="GET",
        path="/v1/invoices/{id}/payments",
        handler=of_invoice,
        scope="read",
        query=Paged,
        answers={200: Page[Payment]},
        errors=("INVOICE_NOT_FOUND",),
        summary="List an invoice's payments, newest first",
        tag="Payments",
    ),
    Endpoint(
        method="POST",
        path="/v1/payments/{id}/resolve",
        handler=resolve,
        scope="admin",
        body=Resolution,
        answers={200: Payment},
        errors=("PAYMENT_NOT_FOUND", "INVALID_STATE"),
        example={"outcome": "succeeded", "note": "captured, says the provider's dashboard"},
        summary="Say what became of a payment that is unknown or waits for an operator",
        tag="Payments",
    ),
)
