"""Subscriptions: stored with the metrics that they price, each with its plan's cadence."""

from collections.abc import Iterable

import asyncpg
import msgspec

from abaxus_core.domain.periods import Cadence
from abaxus_core.domain.subscriptions import Subscription
from abaxus_core.errors import Conflict
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries
from abaxus_core.repositories.constraints import violated

_sql = queries("subscriptions")
_insert = _sql.exec("insert")
_priced_elsewhere = _sql.maybe("priced_elsewhere")
_price_metrics = _sql.exec("price_metrics")
_get = _sql.maybe("get")
_page = _sql.many("page")
_page_of_customer = _sql.many("page_of_customer")


class Paced(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription and the cadence of its plan version, from which its periods follow."""

    subscription: Subscription
    cadence: Cadence


class PricedElsewhere(msgspec.Struct, frozen=True, kw_only=True):
    metric_key: str
    subscription_id: str


async def insert(conn: Connection, subscription: Subscription) -> None:
    await _insert(
        conn,
        subscription.id,
        subscription.customer_no,
        subscription.plan_id,
        subscription.plan_version,
        subscription.start_at,
        subscription.end_at,
        subscription.created_at,
    )


async def priced_elsewhere(
    conn: Connection, subscription: Subscription, metric_keys: Iterable[str]
) -> PricedElsewhere | None:
    """The first of the metrics that the customer has priced already while `subscription` lives."""
    row = await _priced_elsewhere(
        conn,
        subscription.customer_no,
        sorted(metric_keys),
        subscription.start_at,
        subscription.end_at,
    )
    if row is None:
        return None
    return PricedElsewhere(metric_key=row["metric_key"], subscription_id=row["subscription_id"])


async def price_metrics(
    conn: Connection, subscription: Subscription, metric_keys: Iterable[str]
) -> None:
    """Let the subscription price the metrics while it lives. Raises METRIC_ALREADY_PRICED."""
    try:
        await _price_metrics(
            conn,
            subscription.id,
            subscription.customer_no,
            sorted(metric_keys),
            subscription.start_at,
            subscription.end_at,
        )
    except asyncpg.ExclusionViolationError as error:
        if violated(error) != "metric_priced_once":
            raise
        message = "another subscription of the customer prices a metric of this plan in that time"
        raise Conflict(message, code="METRIC_ALREADY_PRICED", field="plan_id") from error


async def get(conn: Connection, subscription_id: str) -> Paced | None:
    row = await _get(conn, subscription_id)
    return None if row is None else _paced(row)


async def page(conn: Connection, *, before_id: str, rows_max: int) -> list[Paced]:
    """Newest first, those with an id below `before_id`."""
    return [_paced(row) for row in await _page(conn, before_id, rows_max)]


async def page_of_customer(
    conn: Connection, customer_id: str, *, before_id: str, rows_max: int
) -> list[Paced]:
    """The same of one customer; nobody's is an empty list."""
    rows = await _page_of_customer(conn, customer_id, before_id, rows_max)
    return [_paced(row) for row in rows]


def _paced(row: Record) -> Paced:
    return Paced(
        subscription=Subscription(
            id=row["subscription_id"],
            customer_no=row["customer_no"],
            customer_id=row["customer_id"],
            plan_id=row["plan_id"],
            plan_version=row["plan_version"],
            start_at=row["start_at"],
            end_at=row["end_at"],
            billed_through=row["billed_through"],
            rated_watermark=row["rated_watermark"],
            created_at=row["created_at"],
        ),
        cadence=Cadence(interval=row["billing_interval"], count=row["billing_count"]),
    )
