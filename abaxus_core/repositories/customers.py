"""Customers: stored, found by the caller's id, paged newest first; their currency, fixed once."""

import asyncpg
import msgspec

from abaxus_core.domain.customers import Customer, PaymentMethod
from abaxus_core.errors import Conflict
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries
from abaxus_core.repositories.constraints import violated

_sql = queries("customers")
_insert = _sql.one("insert")
_get = _sql.maybe("get")
_lock = _sql.maybe("lock")
_page = _sql.many("page")
_update = _sql.exec("update")
_fix_currency = _sql.exec("fix_currency")

UNNUMBERED = 0

_metadata = msgspec.json.Decoder(dict[str, object])


async def insert(conn: Connection, customer: Customer) -> Customer:
    """The customer with the number it was given. Raises CUSTOMER_ID_DUPLICATE."""
    try:
        row = await _insert(conn, customer.id, *_changeable(customer), customer.created_at)
    except asyncpg.UniqueViolationError as error:
        if violated(error) != "customers_id_once":
            raise
        message = f"there is a customer {customer.id} already"
        raise Conflict(message, code="CUSTOMER_ID_DUPLICATE", field="id") from error
    return _customer(row)


async def get(conn: Connection, customer_id: str) -> Customer | None:
    row = await _get(conn, customer_id)
    return None if row is None else _customer(row)


async def lock(conn: Connection, customer_id: str) -> Customer | None:
    """The customer, held against other changes until the transaction ends."""
    row = await _lock(conn, customer_id)
    return None if row is None else _customer(row)


async def page(conn: Connection, *, before_no: int, rows_max: int) -> list[Customer]:
    """Newest first, those numbered below `before_no`."""
    return [_customer(row) for row in await _page(conn, before_no, rows_max)]


async def update(conn: Connection, customer: Customer) -> None:
    """Store what a caller may change of a customer: all but id and currency."""
    await _update(conn, customer.customer_no, *_changeable(customer))


async def fix_currency(conn: Connection, customer_no: int, currency: str) -> bool:
    """Whether the currency is the customer's now; false when another one was fixed before."""
    return await _fix_currency(conn, customer_no, currency) > 0


def _changeable(customer: Customer) -> tuple[object, ...]:
    method = customer.payment_method
    return (
        customer.name,
        customer.email,
        customer.billing_provider,
        method and method.provider_customer_id,
        method and method.provider_payment_method,
        msgspec.json.encode(customer.metadata).decode(),
    )


def _customer(row: Record) -> Customer:
    return Customer(
        customer_no=row["customer_no"],
        id=row["customer_id"],
        name=row["name"],
        email=row["email"],
        currency=row["currency"],
        billing_provider=row["billing_provider"],
        payment_method=_payment_method(row),
        metadata=_metadata.decode(row["metadata"]),
        created_at=row["created_at"],
    )


def _payment_method(row: Record) -> PaymentMethod | None:
    if row["provider_customer_id"] is None:
        return None
    return PaymentMethod(
        provider_customer_id=row["provider_customer_id"],
        provider_payment_method=row["provider_payment_method"],
    )
