"""The pinned connection: beside the pool, replaced by a fresh one after whatever goes wrong."""

import asyncio

import asyncpg
import pytest

from abaxus_core.kernel.database import Database
from abaxus_core.kernel.notifications import CONNECTION_FAULTS

SOON_S = 5
PID = "SELECT pg_backend_pid()"


async def pid(live: Database) -> int:
    async with live.pinned.connection(SOON_S) as conn:
        number: int = await conn.fetchval(PID)
        return number


async def test_it_is_kept(live: Database) -> None:
    assert await pid(live) == await pid(live)


async def test_it_reaches_its_mode_and_plans_once(live: Database) -> None:
    async with live.pinned.connection(SOON_S) as conn:
        assert await conn.fetchval("SELECT current_schema()") == "abaxus_live"
        assert await conn.fetchval("SHOW plan_cache_mode") == "force_generic_plan"


async def test_who_takes_too_long_loses_it(live: Database) -> None:
    before = await pid(live)
    with pytest.raises(TimeoutError):
        async with live.pinned.connection(1) as conn:
            await conn.fetchval("SELECT pg_sleep(30)")
    assert await pid(live) != before


async def test_who_is_cancelled_loses_it(live: Database) -> None:
    before = await pid(live)
    begun = asyncio.Event()

    async def hold() -> None:
        async with live.pinned.connection(SOON_S) as conn:
            begun.set()
            await conn.fetchval("SELECT pg_sleep(30)")

    holder = asyncio.create_task(hold())
    await begun.wait()
    holder.cancel()
    await asyncio.wait([holder])
    assert await pid(live) != before


async def test_an_error_costs_it(live: Database) -> None:
    before = await pid(live)
    with pytest.raises(asyncpg.PostgresError):
        async with live.pinned.connection(SOON_S) as conn:
            await conn.fetchval("SELECT 1 / 0")
    assert await pid(live) != before


async def test_a_cut_is_found_out_by_the_next_and_costs_only_that(live: Database) -> None:
    before = await pid(live)
    async with live.connection() as conn:
        await conn.fetchval("SELECT pg_terminate_backend($1, 5000)", before)
    for _ in range(2):
        try:
            assert await pid(live) != before
        except CONNECTION_FAULTS:
            continue
    assert await pid(live) != before


@pytest.mark.parametrize("kind", [asyncpg.InterfaceError, asyncpg.InternalClientError])
async def test_a_loss_is_told_in_one_way(live: Database, kind: type[Exception]) -> None:
    before = await pid(live)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        async with live.pinned.connection(SOON_S):
            raise kind("the underlying connection is closed")
    assert await pid(live) != before


async def test_it_can_be_closed_unused_and_twice(live: Database) -> None:
    await pid(live)
    for each in (live.pinned, live.pinned, live.following):
        await each.close()


async def test_closed_it_stays(live: Database) -> None:
    await live.pinned.close()
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await pid(live)
