"""Payments: attempts to collect an invoice, and the requests frozen with them."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from abaxus_core.domain.payments import Payment, PaymentState
from abaxus_core.errors import InvariantBroken
from abaxus_core.kernel.database import Connection, Record
from abaxus_core.kernel.sql import queries
from abaxus_core.plugin.payments import FrozenRequest, Outcome

_sql = queries("payments")
_lock_bill = _sql.maybe("lock_bill")
_insert = _sql.exec("insert")
_get = _sql.maybe("get")
_get_by_attempt = _sql.maybe("get_by_attempt")
_live_of_invoice = _sql.maybe("live_of_invoice")
_page = _sql.many("page")
_page_of_states = _sql.many("page_of_states")
_page_of_invoice = _sql.many("page_of_invoice")
_request = _sql.one("request")
_compare_and_set = _sql.exec("compare_and_set")
_due = _sql.many("due")
_unsettled = _sql.many("unsettled")


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a charge needs to know of an invoice and its customer."""

    invoice_id: str
    status: str
    total_minor: int
    currency: str
    billing_provider: str | None
    provider_customer_id: str | None
    provider_payment_method: str | None


async def lock_bill(conn: Connection, invoice_id: str) -> Bill | None:
    """The bill; its invoice stays locked until the transaction ends."""
    record = await _lock_bill(conn, invoice_id)
    if record is None:
        return None
    return Bill(**{**record, "total_minor": int(record["total_minor"])})


async def insert(conn: Connection, payment: Payment, request: FrozenRequest) -> bool:
    """Whether it went in; not when the invoice has another live attempt (payments_one_live)."""
    frozen = msgspec.json.encode(request)
    inserted = await _insert(
        conn,
        payment.id,
        payment.invoice_id,
        payment.provider,
        payment.account_fingerprint,
        payment.attempt_id,
        payment.idempotency_key,
        payment.amount_minor,
        payment.currency,
        frozen.decode(),
        digest(request),
        payment.next_check_at,
        payment.created_at,
    )
    return inserted == 1


async def get(conn: Connection, payment_id: str) -> Payment | None:
    record = await _get(conn, payment_id)
    return _payment(record) if record else None


async def get_by_attempt(conn: Connection, attempt_id: UUID) -> Payment | None:
    """By the id that the provider knows it by."""
    record = await _get_by_attempt(conn, attempt_id)
    return _payment(record) if record else None


async def live_of_invoice(conn: Connection, invoice_id: str) -> Payment | None:
    """The one attempt of the invoice that is not settled."""
    record = await _live_of_invoice(conn, invoice_id)
    return _payment(record) if record else None


async def page(conn: Connection, *, before_id: str, rows_max: int) -> list[Payment]:
    """Payments, newest first, those with ids below `before_id`."""
    return [_payment(record) for record in await _page(conn, before_id, rows_max)]


async def page_of_states(
    conn: Connection, states: Sequence[PaymentState], *, before_id: str, rows_max: int
) -> list[Payment]:
    """The same in some states."""
    records = await _page_of_states(conn, states, before_id, rows_max)
    return [_payment(record) for record in records]


async def page_of_invoice(
    conn: Connection,
    invoice_id: str,
    states: Sequence[PaymentState],
    *,
    before_id: str,
    rows_max: int,
) -> list[Payment]:
    """The same of one invoice and some states; of none that is known, an empty list."""
    records = await _page_of_invoice(conn, invoice_id, states, before_id, rows_max)
    return [_payment(record) for record in records]


async def due(conn: Connection, now: datetime, limit: int) -> list[Payment]:
    """Attempts whose next look is due, the longest due first."""
    return [_payment(record) for record in await _due(conn, now, limit)]


async def unsettled(
    conn: Connection, states: Sequence[PaymentState], rows_max: int
) -> dict[str, int]:
    """How many attempts are in each of the states, counted no further than `rows_max`."""
    return {row["state"]: row["attempts"] for row in await _unsettled(conn, states, rows_max)}


async def request(conn: Connection, payment_id: str) -> FrozenRequest:
    """The request as it was frozen. InvariantBroken when its bytes are not those any more."""
    record = await _request(conn, payment_id)
    frozen = msgspec.json.decode(record["request"], type=FrozenRequest)
    if digest(frozen) != record["request_sha256"]:
        raise InvariantBroken(f"the request of {payment_id} is not the one that was frozen")
    return frozen


async def compare_and_set(
    conn: Connection, before: Payment, after: Payment, outcome: Outcome | None = None
) -> bool:
    """Store `after` if the payment still is as `before`; whether it was."""
    assert before.id == after.id, "a payment keeps its id"
    evidence = msgspec.json.encode(outcome).decode() if outcome else None
    changed = await _compare_and_set(
        conn, before.id, before.state, before.sends, before.checks, *_movable(after, evidence)
    )
    return changed == 1


def digest(request: FrozenRequest) -> bytes:
    """SHA-256 over everything that will be sent, and its order."""
    return hashlib.sha256(msgspec.json.encode(request)).digest()


def _movable(after: Payment, evidence: str | None) -> Sequence[object]:
    """The columns that move with the state, in the order of the statement."""
    return (
        after.state,
        after.sends,
        after.checks,
        after.maybe_executed,
        after.first_sent_at,
        after.last_sent_at,
        after.lease_id,
        after.leased_until,
        after.next_check_at,
        after.retry_at,
        after.provider_payment_id,
        after.code,
        after.provider_code,
        after.retry,
        evidence,
        after.settled_at,
    )


def _payment(record: Record) -> Payment:
    columns = dict(record)
    columns["id"] = columns.pop("payment_id")
    columns["amount_minor"] = int(columns["amount_minor"])
    return Payment(**columns)
