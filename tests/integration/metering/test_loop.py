"""The landing loop: woken, not polling; stopped without leaving anything half done."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from abaxus_core.kernel.database import open_databases
from abaxus_core.services.work import Context
from abaxus_core.worker import landing
from tests.support.clock import FakeClock
from tests.support.metering import context_of, event, fetch, offer
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.waiting import eventually

NS_PER_SECOND = 1_000_000_000


@pytest.fixture
async def stop(context: Context) -> AsyncIterator[asyncio.Event]:
    """Stops the loop that runs meanwhile."""
    stop = asyncio.Event()
    loop = asyncio.create_task(run(context, stop))
    yield stop
    stop.set()
    await loop


async def run(context: Context, stop: asyncio.Event) -> None:
    await landing.run(context.database, context.clock, context.telemetry, stop)


async def stored(context: Context, count: int) -> bool:
    return await fetch(context.database, "SELECT count(*) FROM events") == [(count,)]


async def test_events_of_another_process_land_long_before_the_next_poll(
    databases: TestDatabases, context: Context, clock: FakeClock, stop: asyncio.Event
) -> None:
    async with open_databases(databases.dsn, SETTINGS) as other:
        for place in range(3):
            begun = time.monotonic_ns()
            await offer(context_of(other.live, clock), event(f"k{place}"))
            await eventually(lambda: stored(context, place + 1))  # noqa: B023 - awaited here
            assert time.monotonic_ns() - begun < landing.POLL_S * NS_PER_SECOND


async def test_what_nobody_told_of_is_found_by_the_poll(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "POLL_S", 0.01)
    monkeypatch.setattr("abaxus_core.services.ingestion.INBOX", "nobody listens")
    stop = asyncio.Event()
    loop = asyncio.create_task(run(context, stop))
    await offer(context, event("a"))
    await eventually(lambda: stored(context, 1))
    stop.set()
    await loop


async def test_a_stopped_loop_ends_at_once(context: Context) -> None:
    stop = asyncio.Event()
    loop = asyncio.create_task(run(context, stop))
    await offer(context, event("a"))
    await eventually(lambda: stored(context, 1))
    stop.set()
    async with asyncio.timeout(1):
        await loop
