"""Amendments: stored when asked for, applied once, in the order of taking effect."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from abaxus_core.domain.amendments import Amendment
from abaxus_core.errors import InvariantBroken
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries

_sql = queries("amendments")
_insert = _sql.exec("insert")
_get = _sql.maybe("get")
_page = _sql.many("page")
_in_force = _sql.many("in_force")
_next_due = _sql.maybe("next_due")
_due_of_customers = _sql.many("due_of_customers")
_count_applied = _sql.one("count_applied")
_mark_applied = _sql.exec("mark_applied")
_mark_failed = _sql.exec("mark_failed")
_cancel = _sql.exec("cancel")


async def insert(conn: Connection, amendment: Amendment) -> None:
    await _insert(
        conn,
        amendment.id,
        amendment.subscription_id,
        amendment.type,
        amendment.effective,
        amendment.effective_at,
        amendment.plan_id,
        amendment.plan_version,
        amendment.prorate,
        amendment.resume_at,
        amendment.end_at,
        amendment.reason,
        amendment.created_at,
    )


async def get(conn: Connection, subscription_id: str, amendment_id: str) -> Amendment | None:
    row = await _get(conn, subscription_id, amendment_id)
    return None if row is None else _amendment(row)


async def page(
    conn: Connection, subscription_id: str, *, before_id: str, rows_max: int
) -> list[Amendment]:
    """Newest first, those with an id below `before_id`."""
    return [_amendment(row) for row in await _page(conn, subscription_id, before_id, rows_max)]


async def in_force(
    conn: Connection, subscription_ids: Sequence[str]
) -> dict[str, tuple[Amendment, ...]]:
    """The applied amendments and then the pending ones, each in order, by subscription."""
    found: defaultdict[str, list[Amendment]] = defaultdict(list)
    for row in await _in_force(conn, subscription_ids):
        found[row["subscription_id"]].append(_amendment(row))
    return {subscription_id: tuple(each) for subscription_id, each in found.items()}


async def next_due(conn: Connection, now: datetime) -> str | None:
    """A subscription that has an amendment due, held until the transaction ends; None for none."""
    row = await _next_due(conn, now)
    return None if row is None else row["subscription_id"]


async def due_of_customers(
    conn: Connection, customer_nos: Sequence[int], now: datetime
) -> list[str]:
    """Those subscriptions of some customers that have an amendment due."""
    rows = await _due_of_customers(conn, customer_nos, now)
    return [row["subscription_id"] for row in rows]


async def count_applied(conn: Connection, customer_no: int) -> int:
    """How many were applied to a customer's subscriptions, held against more of them."""
    applied: int = (await _count_applied(conn, customer_no))["amendments_applied"]
    return applied


async def mark_applied(conn: Connection, amendment_id: str, *, number: int, at: datetime) -> None:
    if await _mark_applied(conn, amendment_id, number, at) != 1:
        raise InvariantBroken("an amendment is applied while its subscription is held")


async def mark_failed(conn: Connection, amendment_id: str, failure: str) -> None:
    if await _mark_failed(conn, amendment_id, failure) != 1:
        raise InvariantBroken("an amendment fails while its subscription is held")


async def cancel(conn: Connection, amendment_id: str) -> bool:
    """False when it is no longer pending."""
    return await _cancel(conn, amendment_id) == 1


def _amendment(row: Record) -> Amendment:
    return Amendment(
        id=row["amendment_id"],
        subscription_id=row["subscription_id"],
        type=row["type"],
        effective=row["effective"],
        effective_at=row["effective_at"],
        status=row["status"],
        plan_id=row["plan_id"],
        plan_version=row["plan_version"],
        prorate=row["prorate"],
        resume_at=row["resume_at"],
        end_at=row["end_at"],
        reason=row["reason"],
        failure=row["failure"],
        applied_at=row["applied_at"],
        created_at=row["created_at"],
    )
