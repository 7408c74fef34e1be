"""Databases to invoice: customers on one plan, a month of usage, and many months invoiced or none.

Each is filled once and cloned for every run, so that all start from the same pages. Events are
stored in order of time, with the rollups of their landings.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import asyncpg
import msgspec

from abaxus_core.domain.charges import Package, PerUnit, Tier, Tiered, UsageCharge, Volume
from abaxus_core.domain.periods import Cadence, add_months
from abaxus_core.domain.plans import PlanVersion
from abaxus_core.kernel import migrations
from abaxus_core.kernel.database import PoolSettings, schema_of
from abaxus_core.kernel.embedded_postgres import Server
from abaxus_core.repositories import price_plans
from benchmarks import servers
from benchmarks.bulk_billing import statements as sql
from benchmarks.servers import durable

METRICS: Final = 5
EVENTS_PER_CUSTOMER: Final = 100
HISTORY_MONTHS: Final = 10
SETTINGS: Final = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
POOL: Final = PoolSettings(ssl_mode="disable")
PLAN_ID: Final = "plan"

MONTH: Final = (datetime(2025, 11, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC))

_EDGES: Final = (Decimal(1_000), Decimal(5_000))


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How many customers, and how many months of theirs were invoiced before."""

    customers: int
    months_before: int = 0

    @property
    def events_a_month(self) -> int:
        return self.customers * EVENTS_PER_CUSTOMER

    @property
    def start_at(self) -> datetime:
        return add_months(MONTH[0], -self.months_before)


class Cluster:
    """A running server and its databases."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._clones = 0

    def dsn(self, database: str) -> str:
        return self.server.dsn(database)

    def make(self, database: str, shape: Shape) -> None:
        """Make a database of that shape, to be cloned."""
        asyncio.run(self._make(database, shape))

    async def _make(self, database: str, shape: Shape) -> None:
        await self._execute(f'CREATE DATABASE "{database}"')
        await _fill(self.dsn(database), shape)

    @contextmanager
    def clone(self, database: str) -> Iterator[str]:
        """The DSN of a copy of a database, warm, dropped on the way out."""
        self._clones += 1
        name = f"{database}_{self._clones}"
        copied = f'CREATE DATABASE "{name}" TEMPLATE "{database}" STRATEGY file_copy'
        asyncio.run(self._execute(copied))
        asyncio.run(_warm(self.dsn(name)))
        try:
            yield self.dsn(name)
        finally:
            asyncio.run(self._execute(f'DROP DATABASE "{name}" WITH (FORCE)'))

    async def _execute(self, statement: str) -> None:
        conn = await asyncpg.connect(self.server.dsn())
        await conn.execute(statement)
        await conn.close()

    def cpu_us(self) -> int:
        """What all processes of the server have used, those that ended included."""
        return servers.cpu_us(self.server)


@contextmanager
def running() -> Iterator[Cluster]:
    """A fresh durable cluster."""
    with durable(SETTINGS) as server:
        yield Cluster(server)


async def connect(dsn: str) -> Any:
    """A connection to live mode."""
    return await asyncpg.connect(
        dsn, server_settings={"search_path": schema_of("live"), "timezone": "UTC"}
    )


async def _warm(dsn: str) -> None:
    conn = await connect(dsn)
    await conn.execute(sql.WARM)
    await conn.close()


async def _fill(dsn: str, shape: Shape) -> None:
    await migrations.migrate(dsn, POOL)
    conns = [await connect(dsn) for _ in range(2)]
    await _fill_catalogue(conns[0], shape)
    months = [
        (number, add_months(shape.start_at, number)) for number in range(shape.months_before + 1)
    ]
    await conns[0].execute(sql.PARTITIONS, [start.date() for _, start in months])
    await asyncio.gather(
        *(_fill_months(conn, shape, months[place::2]) for place, conn in enumerate(conns))
    )
    await _settle_history(conns[0], shape)
    await conns[1].close()
    await conns[0].execute("VACUUM (ANALYZE)")
    await conns[0].execute("CHECKPOINT")
    await conns[0].close()


async def _fill_catalogue(conn: Any, shape: Shape) -> None:
    await conn.execute(sql.WARMING)
    await conn.execute(sql.RATING)
    await conn.execute(sql.MAKE_METRICS, METRICS)
    version = await price_plans.next_version(conn, PLAN_ID, shape.start_at)
    await price_plans.insert_version(conn, _plan(version, shape.start_at))
    await conn.execute(sql.MAKE_CUSTOMERS, shape.customers, shape.start_at)
    await conn.execute(sql.SUBSCRIBE, PLAN_ID, shape.start_at)
    await conn.execute(sql.PRICE_METRICS)


async def _fill_months(conn: Any, shape: Shape, months: list[tuple[int, datetime]]) -> None:
    """Landings are numbered as the months are: from 1, and the last is not invoiced yet."""
    for number, start in months:
        end = add_months(start, 1)
        await conn.execute(
            sql.FILL_EVENTS,
            number * shape.events_a_month,
            shape.events_a_month,
            shape.customers,
            METRICS,
            start,
            end,
            number + 1,
        )
        await conn.execute(sql.FILL_ROLLUPS, start, end, number + 1)
        if number < shape.months_before:
            await conn.execute(sql.FILL_INVOICES, number, shape.customers, start, end)
            await conn.execute(sql.FILL_LINES, number, start, end)


async def _settle_history(conn: Any, shape: Shape) -> None:
    await conn.execute(sql.NUMBER_LANDINGS, shape.months_before + 1)
    if shape.months_before:
        await conn.execute(sql.NUMBER_INVOICES, shape.months_before * shape.customers)
        await conn.execute(sql.MARK, shape.months_before, MONTH[0])


def _plan(version: int, at: datetime) -> PlanVersion:
    return PlanVersion(
        plan_id=PLAN_ID,
        version=version,
        name="Plan",
        currency="usd",
        cadence=Cadence(interval="month"),
        charges=_charges(),
        effective_from=at,
        created_at=at,
    )


def _charges() -> tuple[UsageCharge, ...]:
    """The prices of `owed_minor` in statements.py."""
    return (
        PerUnit(id="chg_1", metric_key="m1", unit_price=Decimal("0.015")),
        Tiered(id="chg_2", metric_key="m2", tiers=_tiers("0.02", "0.015", "0.0125")),
        Volume(id="chg_3", metric_key="m3", tiers=_tiers("0.02", "0.015", "0.0125")),
        Package(
            id="chg_4",
            metric_key="m4",
            package_size=Decimal(100),
            package_price=Decimal("1.25"),
        ),
        Tiered(id="chg_5", metric_key="m5", tiers=_tiers("0", "0.0333", "0.0111")),
    )


def _tiers(*prices: str) -> tuple[Tier, ...]:
    return tuple(
        Tier(up_to=edge, unit_price=Decimal(price))
        for edge, price in zip((*_EDGES, None), prices, strict=True)
    )
