"""An application that shares the database: its role, its table, its connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from abaxus_core.kernel.database import Connection
from tests.support.metering import T0

GRANTS = (
    'GRANT USAGE ON SCHEMA abaxus TO "{role}"',
    'GRANT EXECUTE ON FUNCTION abaxus.record_event TO "{role}"',
    'GRANT EXECUTE ON FUNCTION abaxus.record_test_event TO "{role}"',
)
RECORD = "SELECT abaxus.record_event($1, $2, $3, $4, $5, $6)"
RECORD_TEST = "SELECT abaxus.record_test_event($1, $2, $3, $4, $5, $6)"


async def make_application(dsn: str, *, granted: bool = True) -> str:
    """A role with a schema and a table of its own that may record, and nothing else; its DSN."""
    parts = urlsplit(dsn)
    role = f"shop_{parts.path.strip('/')}_{granted}".lower()
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'shop'")
        await owner.execute(f'CREATE SCHEMA "{role}" AUTHORIZATION "{role}"')
        for grant in GRANTS if granted else ():
            await owner.execute(grant.format(role=role))
    finally:
        await owner.close()
    address = f"{role}:shop@{parts.hostname}:{parts.port}"
    theirs = urlunsplit(parts._replace(netloc=address))
    async with connected(theirs) as conn:
        await conn.execute("CREATE TABLE orders (order_id text PRIMARY KEY)")
    return theirs


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """A connection of the application's; it may be gone at the end."""
    conn = await asyncpg.connect(dsn)
    try:
        yield conn
    finally:
        conn.terminate()


async def order(conn: Connection, order_id: str) -> str:
    """What the application does in a transaction: its business row, and the event for it."""
    await conn.execute("INSERT INTO orders VALUES ($1)", order_id)
    return await record(conn, order_id)


async def record(
    conn: Connection,
    key: str | None = "k1",
    *,
    customer_id: str | None = "acme",
    metric_key: str | None = "total",
    value: Decimal | None = Decimal(1),
    timestamp: datetime | None = T0,
    properties: str | None = None,
    statement: str = RECORD,
) -> str:
    """Record an event; the defaults are those of `metering.event`."""
    event_id: str = await conn.fetchval(
        statement, customer_id, metric_key, value, timestamp, key, properties
    )
    return event_id
