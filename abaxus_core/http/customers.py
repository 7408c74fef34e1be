"""Customers over HTTP."""

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec

from abaxus_core.domain import customers as domain
from abaxus_core.http import codec
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import PATH_NUMBER_MAX, Call, Endpoint
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.http.texts import Name, Reference, Value
from abaxus_core.kernel.database import Connection
from abaxus_core.plugin.email import ADDRESS_LENGTH_MAX
from abaxus_core.repositories import customers as repository
from abaxus_core.services import customers as service
from abaxus_core.services.work import Work

# Dot-atoms of RFC 5322 on both sides of one "@"; quoted local parts and address literals are left
# out, because the standard library's parser, which the service asks next, fails on malformed ones.
_ATOM = r"[^\s@.\"(),:;<>\[\\\]\x00-\x1f\x7f]+"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*"

Email: TypeAlias = Annotated[
    str,
    msgspec.Meta(max_length=ADDRESS_LENGTH_MAX, pattern=rf"^{_DOT_ATOM}@{_DOT_ATOM}\Z"),
]
Provider: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,64}\Z")]
MetadataKey: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Metadata: TypeAlias = dict[MetadataKey, Value | int | bool]


class Billing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`provider` is the payment provider that serves the customer, null for the default one."""

    provider: Provider | None = None


class PaymentMethod(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The provider's own ids of the customer and its means to pay; never a card number."""

    provider_customer_id: Reference
    provider_payment_method: Reference


class NewCustomer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`metadata` holds up to 50 texts, whole numbers or booleans; other numbers go in as text."""

    id: codec.CallerId
    name: Name | None = None
    email: Email | None = None
    billing: Billing | None = None
    payment_method: PaymentMethod | None = None
    metadata: Metadata | None = None
    idempotency_key: codec.IdempotencyKey | None = None


class CustomerChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is absent stays, null clears; `metadata` is replaced as a whole."""

    name: Name | msgspec.UnsetType | None = msgspec.UNSET
    email: Email | msgspec.UnsetType | None = msgspec.UNSET
    billing: Billing | msgspec.UnsetType | None = msgspec.UNSET
    payment_method: PaymentMethod | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType | None = msgspec.UNSET
    idempotency_key: codec.IdempotencyKey | None = None


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """`currency` is null until the first subscription fixes it."""

    id: str
    name: str | None
    email: str | None
    currency: str | None
    billing: Billing
    payment_method: PaymentMethod | None
    metadata: dict[str, str | int | bool]
    created_at: datetime


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended."""

    customer_no: Annotated[int, msgspec.Meta(ge=1, le=PATH_NUMBER_MAX)]


async def create(call: Call[NewCustomer, None]) -> Answer:
    body = call.body
    new = service.NewCustomer(
        id=body.id,
        name=body.name,
        email=body.email,
        billing_provider=_provider(body.billing),
        payment_method=_payment_method(body.payment_method),
        metadata=dict(body.metadata or {}),
    )

    async def step(work: Work) -> Customer:
        return _shown(await service.create(work, new))

    return await call.write(201, step)


async def newest(call: Call[None, Paged]) -> Answer:
    query = call.query
    before = read_cursor(query.cursor, _Position).customer_no if query.cursor else PATH_NUMBER_MAX

    async def step(conn: Connection) -> Page[Customer]:
        found = await repository.page(conn, before_no=before, rows_max=query.limit + 1)
        shown = page(found, query.limit, lambda customer: (customer.customer_no,))
        return Page(data=[_shown(one) for one in shown.data], next_cursor=shown.next_cursor)

    return await call.read(step)


async def get(call: Call[None, None]) -> Answer:
    async def step(conn: Connection) -> Customer:
        return _shown(await service.get(conn, call.path["id"]))

    return await call.read(step)


async def update(call: Call[CustomerChange, None]) -> Answer:
    change = _change(call.body)

    async def step(work: Work) -> Customer:
        return _shown(await service.update(work, call.path["id"], change))

    return await call.write(200, step)


def _change(body: CustomerChange) -> service.CustomerChange:
    unset = msgspec.UNSET
    billing, method, metadata = body.billing, body.payment_method, body.metadata
    return service.CustomerChange(
        name=body.name,
        email=body.email,
        billing_provider=unset if billing is unset else _provider(billing),
        payment_method=unset if method is unset else _payment_method(method),
        metadata=unset if metadata is unset else dict(metadata or {}),
    )


def _provider(sent: Billing | None) -> str | None:
    return None if sent is None else sent.provider


def _payment_method(sent: PaymentMethod | None) -> domain.PaymentMethod | None:
    if sent is None:
        return None
    return domain.PaymentMethod(
        provider_customer_id=sent.provider_customer_id,
        provider_payment_method=sent.provider_payment_method,
    )


def _shown(customer: domain.Customer) -> Customer:
    return Customer(
        id=customer.id,
        name=customer.name,
        email=customer.email,
        currency=customer.currency,
        billing=Billing(provider=customer.billing_provider),
        payment_method=_shown_method(customer.payment_method),
        metadata=msgspec.convert(customer.metadata, dict[str, str | int | bool]),
        created_at=customer.created_at,
    )


def _shown_method(method: domain.PaymentMethod | None) -> PaymentMethod | None:
    if method is None:
        return None
    return PaymentMethod(
        provider_customer_id=method.provider_customer_id,
        provider_payment_method=method.provider_payment_method,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/customers",
        handler=create,
        scope="write",
        body=NewCustomer,
        answers={201: Customer},
        errors=("CUSTOMER_ID_DUPLICATE",),
        example={"id": "acme", "name": "Acme", "email": "billing@acme.example"},
        summary="Create a customer under an id of the caller's",
        tag="Customers",
    ),
    Endpoint(
        method="GET",
        path="/v1/customers",
        handler=newest,
        scope="read",
        query=Paged,
        answers={200: Page[Customer]},
        summary="List customers, newest first",
        tag="Customers",
    ),
    Endpoint(
        method="GET",
        path="/v1/customers/{id}",
        handler=get,
        scope="read",
        answers={200: Customer},
        errors=("CUSTOMER_NOT_FOUND",),
        summary="Read a customer",
        tag="Customers",
    ),
    Endpoint(
        method="PATCH",
        path="/v1/customers/{id}",
        handler=update,
        scope="write",
        body=CustomerChange,
        answers={200: Customer},
        errors=("CUSTOMER_NOT_FOUND",),
        summary="Change a customer: what is absent stays, null clears",
        tag="Customers",
    ),
)
