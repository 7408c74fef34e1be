"""Locks as barriers: who needs what a test holds stays inside until it lets go."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from abaxus_core.kernel.database import Database
from tests.support.metering import fetch

COUNTER_HELD = "SELECT FROM counters WHERE name = 'invoice' FOR UPDATE"


@asynccontextmanager
async def holding(dsn: str, statement: str) -> AsyncIterator[None]:
    """What the statement locks, in live mode, is locked meanwhile."""
    conn = await asyncpg.connect(dsn, server_settings={"search_path": "abaxus_live"})
    try:
        async with conn.transaction():
            await conn.execute(statement)
            yield
    finally:
        await conn.close()


async def are_waiting(database: Database, count: int) -> bool:
    """Whether so many connections to the database, or more, wait for a lock."""
    rows = await fetch(
        database,
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return len(rows) >= count
