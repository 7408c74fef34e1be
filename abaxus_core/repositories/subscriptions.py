"""Subscriptions: stored with the metrics that they price, read with what amends them."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg
import msgspec

from abaxus_core.domain.periods import Cadence
from abaxus_core.domain.subscriptions import Subscription
from abaxus_core.errors import Conflict
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries
from abaxus_core.repositories import amendments
from abaxus_core.repositories.constraints import violated

_sql = queries("subscriptions")
_insert = _sql.exec("insert")
_priced_elsewhere = _sql.maybe("priced_elsewhere")
_price_metrics = _sql.exec("price_metrics")
_unprice_metrics = _sql.exec("unprice_metrics")
_amend = _sql.one("amend")
_lock = _sql.maybe("lock")
_get = _sql.maybe("get")
_page = _sql.many("page")
_page_of_customer = _sql.many("page_of_customer")


class Paced(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription and the cadence of its plan version, from which its periods follow."""

    subscription: Subscription
    cadence: Cadence


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics that a subscription prices in [start_at, end_at), `end_at` None: from then on."""

    metric_keys: frozenset[str]
    start_at: datetime
    end_at: datetime | None


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
    conn: Connection, pricing: Pricing, customer_no: int
) -> PricedElsewhere | None:
    """The first of the metrics that the customer has priced already in that time."""
    row = await _priced_elsewhere(
        conn, customer_no, sorted(pricing.metric_keys), pricing.start_at, pricing.end_at
    )
    if row is None:
        return None
    return PricedElsewhere(metric_key=row["metric_key"], subscription_id=row["subscription_id"])


async def price_metrics(
    conn: Connection, subscription: Subscription, pricings: Iterable[Pricing]
) -> None:
    """Let the subscription price these metrics, and no others. Raises METRIC_ALREADY_PRICED."""
    await _unprice_metrics(conn, subscription.id)
    try:
        for pricing in pricings:
            await _price_metrics(
                conn,
                subscription.id,
                subscription.customer_no,
                sorted(pricing.metric_keys),
                pricing.start_at,
                pricing.end_at,
            )
    except asyncpg.ExclusionViolationError as error:
        if violated(error) != "metric_priced_once":
            raise
        message = "another subscription of the customer prices a metric of this plan in that time"
        raise Conflict(message, code="METRIC_ALREADY_PRICED", field="plan_id") from error


async def amend(
    conn: Connection,
    subscription_id: str,
    *,
    lasts_until: datetime | None,
    effective_at: datetime,
    reopened_from: datetime,
) -> int:
    """Record what one more amendment leaves the subscription with; how many there are then.

    What was invoiced beyond `effective_at` is open again, from the period's start.
    """
    row = await _amend(conn, subscription_id, lasts_until, effective_at, reopened_from)
    applied: int = row["amendments_applied"]
    return applied


async def lock(conn: Connection, subscription_id: str) -> Paced | None:
    """The subscription, held against amendments and invoices until the transaction ends."""
    row = await _lock(conn, subscription_id)
    return None if row is None else (await paced(conn, [row]))[0]


async def get(conn: Connection, subscription_id: str) -> Paced | None:
    row = await _get(conn, subscription_id)
    return None if row is None else (await paced(conn, [row]))[0]


async def page(conn: Connection, *, before_id: str, rows_max: int) -> list[Paced]:
    """Newest first, those with an id below `before_id`."""
    return await paced(conn, await _page(conn, before_id, rows_max))


async def page_of_customer(
    conn: Connection, customer_id: str, *, before_id: str, rows_max: int
) -> list[Paced]:
    """The same of one customer; nobody's is an empty list."""
    return await paced(conn, await _page_of_customer(conn, customer_id, before_id, rows_max))


async def paced(conn: Connection, rows: Sequence[Record]) -> list[Paced]:
    """The subscriptions of rows that have their columns and their cadences, in order."""
    return [
        Paced(
            subscription=subscription,
            cadence=Cadence(interval=row["billing_interval"], count=row["billing_count"]),
        )
        for subscription, row in zip(await with_amendments(conn, rows), rows, strict=True)
    ]


async def with_amendments(conn: Connection, rows: Sequence[Record]) -> list[Subscription]:
    """The subscriptions of rows that have their columns, in order."""
    amended = await amendments.in_force(conn, [row["subscription_id"] for row in rows])
    return [
        Subscription(
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
            amendments=amended.get(row["subscription_id"], ()),
        )
        for row in rows
    ]
