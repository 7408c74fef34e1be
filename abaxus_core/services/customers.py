"""Customers: created and changed under the caller's ids; nothing that could be a card is kept."""

import msgspec

from abaxus_core.domain.card_numbers import looks_like_card_number
from abaxus_core.domain.customers import Customer, PaymentMethod, check_metadata
from abaxus_core.errors import InvalidInput, NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.plugin.email import is_mail_address
from abaxus_core.repositories import customers as repository
from abaxus_core.services import audit
from abaxus_core.services.entitlements import documents
from abaxus_core.services.work import Work


class NewCustomer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str | None = None
    email: str | None = None
    billing_provider: str | None = None
    payment_method: PaymentMethod | None = None
    metadata: dict[str, object] = {}


class CustomerChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is unset stays as it is, None clears; `metadata` is replaced as a whole."""

    name: str | msgspec.UnsetType | None = msgspec.UNSET
    email: str | msgspec.UnsetType | None = msgspec.UNSET
    billing_provider: str | msgspec.UnsetType | None = msgspec.UNSET
    payment_method: PaymentMethod | msgspec.UnsetType | None = msgspec.UNSET
    metadata: dict[str, object] | msgspec.UnsetType = msgspec.UNSET


async def create(work: Work, new: NewCustomer) -> Customer:
    """The new customer. Raises CUSTOMER_ID_DUPLICATE."""
    customer = Customer(
        customer_no=repository.UNNUMBERED,
        created_at=work.now,
        **msgspec.structs.asdict(new),
    )
    _check(customer)
    customer = await repository.insert(work.conn, customer)
    await documents.begin(work.conn, customer.customer_no, now=work.now)
    await audit.record(
        work, action="customer.created", object_type="customer", object_id=customer.id
    )
    return customer


async def update(work: Work, customer_id: str, change: CustomerChange) -> Customer:
    """The customer as changed; one change at a time. Raises CUSTOMER_NOT_FOUND."""
    customer = _found(await repository.lock(work.conn, customer_id), customer_id)
    changed = {
        field: value
        for field, value in msgspec.structs.asdict(change).items()
        if value is not msgspec.UNSET and value != getattr(customer, field)
    }
    if not changed:
        return customer
    customer = msgspec.structs.replace(customer, **changed)
    _check(customer)
    await repository.update(work.conn, customer)
    await audit.record(
        work,
        action="customer.updated",
        object_type="customer",
        object_id=customer.id,
        # Names only: the log is kept for ever, and what it holds could never be forgotten.
        data={"fields": sorted(changed)},
    )
    return customer


async def get(conn: Connection, customer_id: str) -> Customer:
    """Raises CUSTOMER_NOT_FOUND."""
    return _found(await repository.get(conn, customer_id), customer_id)


def no_such_customer(customer_id: str) -> NotFound:
    """What to raise where a customer is named that is not there."""
    return NotFound(
        f"there is no customer {customer_id}", code="CUSTOMER_NOT_FOUND", field="customer_id"
    )


def _check(customer: Customer) -> None:
    check_metadata(customer.metadata)
    if customer.email is not None and not is_mail_address(customer.email):
        raise InvalidInput("is not an e-mail address", field="email")
    if customer.payment_method is None:
        return
    for field, reference in msgspec.structs.asdict(customer.payment_method).items():
        if looks_like_card_number(reference):
            raise InvalidInput(
                "looks like a card number; the provider's own id belongs here",
                field=f"payment_method.{field}",
            )


def _found(customer: Customer | None, customer_id: str) -> Customer:
    if customer is None:
        raise no_such_customer(customer_id)
    return customer
