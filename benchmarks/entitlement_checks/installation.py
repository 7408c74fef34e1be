"""A database with a year behind it: customers on plans, their usage, subscriptions begun any time.

Four plans and an add-on; each grants limits on three metrics, booleans and customs. Subscriptions
begin at any instant of the last year, so that billing periods begin within a day. Events of the
last two months are there, rollups of the whole year.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import asyncpg
import msgspec

from abaxus_core.domain.charges import FlatFee, PerUnit
from abaxus_core.domain.entitlements import (
    BooleanEntitlement,
    CustomEntitlement,
    Entitlement,
    LimitEntitlement,
)
from abaxus_core.domain.periods import Cadence, add_months
from abaxus_core.domain.plans import PlanVersion
from abaxus_core.kernel import migrations
from abaxus_core.kernel.database import PoolSettings, schema_of
from abaxus_core.repositories import price_plans
from abaxus_core.services.entitlements import documents
from benchmarks.entitlement_checks import statements as sql
from benchmarks.entitlement_checks.population import METRICS, customer_id

SETTINGS: Final = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
POOL: Final = PoolSettings(ssl_mode="disable")
PLANS: Final = ("starter", "growth", "scale", "enterprise")
ADDON: Final = "more"
EVENT_DAYS: Final = 45
YEAR_DAYS: Final = 365
RESOLVED_AT_ONCE: Final = 500


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How many customers, and how many events they made in the last EVENT_DAYS."""

    customers: int
    events: int


async def fill(dsn: str, shape: Shape) -> None:
    """Migrate and fill an empty database; vacuumed and checkpointed at the end."""
    await migrations.migrate(dsn, POOL)
    conn = await connect(dsn)
    now = datetime.now(UTC)
    await _fill_catalogue(conn, shape, now - timedelta(days=YEAR_DAYS), now)
    await _fill_usage(conn, shape, now - timedelta(days=YEAR_DAYS), now)
    await _resolve(conn, shape)
    await conn.execute("VACUUM (ANALYZE)")
    await conn.execute("CHECKPOINT")
    await conn.close()


async def connect(dsn: str) -> Any:
    """A connection to live mode."""
    return await asyncpg.connect(
        dsn, server_settings={"search_path": schema_of("live"), "timezone": "UTC"}
    )


async def _fill_catalogue(conn: Any, shape: Shape, start: datetime, now: datetime) -> None:
    keys, aggregations = zip(*METRICS, strict=True)
    await conn.execute(sql.MAKE_METRICS, keys, aggregations, start)
    for plan in (*_plans(start), _addon(start)):
        await price_plans.next_version(conn, plan.plan_id, start)
        await price_plans.insert_version(conn, plan)
    await conn.execute(sql.MAKE_CUSTOMERS, shape.customers, start)
    await conn.execute(sql.SUBSCRIBE, start, now - timedelta(hours=1), PLANS, ADDON)
    await conn.execute(sql.PRICE_METRICS, PLANS)


async def _fill_usage(conn: Any, shape: Shape, start: datetime, now: datetime) -> None:
    recent = (now - timedelta(days=EVENT_DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    months = [add_months(recent.replace(day=1), number) for number in range(4)]
    await conn.execute(sql.PARTITIONS, [month.date() for month in months])
    await conn.execute(
        sql.FILL_EVENTS, shape.events, float(shape.customers), len(METRICS), recent, now
    )
    await conn.execute(sql.FILL_ROLLUPS)
    await conn.execute(sql.FILL_OLD_ROLLUPS, start.date(), recent.date())
    await conn.execute(sql.NUMBER_LANDINGS)


async def _resolve(conn: Any, shape: Shape) -> None:
    """Give each customer the document that a change of its subscriptions would have left."""
    for first in range(1, shape.customers + 1, RESOLVED_AT_ONCE):
        numbers = range(first, min(first + RESOLVED_AT_ONCE, shape.customers + 1))
        async with conn.transaction():
            await documents.renew(conn, list(map(customer_id, numbers)), now=datetime.now(UTC))


def _plans(start: datetime) -> list[PlanVersion]:
    charges = tuple(
        PerUnit(id=f"chg_{key}", metric_key=key, unit_price=Decimal("0.001")) for key, _ in METRICS
    )
    return [
        PlanVersion(
            plan_id=plan_id,
            version=1,
            name=plan_id.title(),
            currency="usd",
            cadence=Cadence(interval="month"),
            charges=charges,
            entitlements=_entitlements(10**place),
            effective_from=start,
            created_at=start,
        )
        for place, plan_id in enumerate(PLANS, start=3)
    ]


def _addon(start: datetime) -> PlanVersion:
    return PlanVersion(
        plan_id=ADDON,
        version=1,
        name="More of everything",
        currency="usd",
        cadence=Cadence(interval="month"),
        charges=(FlatFee(id="chg_more", amount=Decimal(50)),),
        entitlements=_entitlements(10**5),
        effective_from=start,
        created_at=start,
    )


def _entitlements(size: int) -> tuple[Entitlement, ...]:
    return (
        *(
            LimitEntitlement(feature_key=key, limit=Decimal(size), metric_key=key)
            for key, _ in METRICS
        ),
        BooleanEntitlement(feature_key="sso", value=size > 10**4),
        BooleanEntitlement(feature_key="audit_export", value=size > 10**5),
        CustomEntitlement(feature_key="support", value="email" if size < 10**5 else "phone"),
        CustomEntitlement(feature_key="region", value="eu"),
    )
