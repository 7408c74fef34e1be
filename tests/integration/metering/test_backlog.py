"""Back-pressure: what is full says so and writes nothing; what was acknowledged is stored."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

import httpx
import pytest

from abaxus_core.services.ingestion import BACKLOG_RETRY_AFTER_S
from tests.support.api import Api, serving
from tests.support.clock import FakeClock
from tests.support.metering import fetch, land_all, make_catalogue
from tests.support.postgres import TestDatabases

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Api]]
STORED = "SELECT idempotency_key FROM events ORDER BY 1"
WAITING = "SELECT count(*) FROM event_inbox"


@pytest.fixture
async def serve(databases: TestDatabases, clock: FakeClock) -> Serve:
    """Serves the API with these settings, over a catalogue in live mode."""
    await make_catalogue(databases.live)

    @asynccontextmanager
    async def with_settings(**settings: str) -> AsyncIterator[Api]:
        async with serving(databases, clock, **settings) as api:
            yield api

    return with_settings


def body(key: str) -> dict[str, object]:
    return {
        "customer_id": "acme",
        "metric_key": "total",
        "value": 1,
        "timestamp": "2026-05-01T12:00:00Z",
        "idempotency_key": key,
    }


async def send(api: Api, key: str) -> httpx.Response:
    return await api.client.post("/v1/events", json=body(key))


async def send_batch(api: Api, *keys: str) -> httpx.Response:
    return await api.client.post("/v1/events/batch", json={"events": [body(key) for key in keys]})


def is_refused(answer: httpx.Response) -> bool:
    """Whether it is the refusal that says when to come back."""
    return (
        answer.status_code == 429
        and answer.json()["error"]["code"] == "BACKLOG_FULL"
        and answer.headers["Retry-After"] == str(BACKLOG_RETRY_AFTER_S)
    )


async def gauges(api: Api) -> dict[str, str]:
    """What waits in live mode, as operators see it."""
    lines = (await api.client.get("/metrics")).text.splitlines()
    label = '{mode="live"} '
    return {
        line.partition(label)[0].removeprefix("abaxus_"): line.partition(label)[2]
        for line in lines
        if line.startswith(("abaxus_inbox", "abaxus_quarantine")) and label in line
    }


async def test_so_many_requests_wait_and_no_more(databases: TestDatabases, serve: Serve) -> None:
    async with serve(INGEST_BACKLOG_MAX="2") as api:
        assert (await send(api, "a")).status_code == 202
        assert (await send_batch(api, "b", "c")).status_code == 207
        assert is_refused(await send(api, "d"))
        assert is_refused(await send_batch(api, "d", "e"))
        assert await fetch(databases.live, WAITING) == [(2,)]
        await land_all(api.contexts["live"])
        assert (await send_batch(api, "d", "e")).status_code == 207
        await land_all(api.contexts["live"])
    assert await fetch(databases.live, STORED) == [("a",), ("b",), ("c",), ("d",), ("e",)]


async def test_what_stands_still_takes_no_more(
    databases: TestDatabases, serve: Serve, clock: FakeClock
) -> None:
    async with serve(INGEST_BACKLOG_AGE_MAX="1h") as api:
        assert (await send(api, "a")).status_code == 202
        clock.advance(timedelta(hours=1))
        assert (await send(api, "b")).status_code == 202
        clock.advance(timedelta(microseconds=1))
        assert is_refused(await send(api, "c"))
        assert is_refused(await send_batch(api, "c", "d"))
        assert await fetch(databases.live, WAITING) == [(2,)]
        await land_all(api.contexts["live"])
        assert (await send(api, "c")).status_code == 202
        await land_all(api.contexts["live"])
    assert await fetch(databases.live, STORED) == [("a",), ("b",), ("c",)]


async def test_a_replay_is_answered_though_the_backlog_is_full(serve: Serve) -> None:
    async with serve(INGEST_BACKLOG_MAX="1") as api:
        await send(api, "a")
        await land_all(api.contexts["live"])
        await send(api, "b")
        assert (await send(api, "a")).json()["duplicate"] is True
        assert is_refused(await send(api, "c"))


async def test_each_mode_has_a_backlog_of_its_own(databases: TestDatabases, serve: Serve) -> None:
    await make_catalogue(databases.test)
    async with serve(INGEST_BACKLOG_MAX="1") as api:
        await send(api, "a")
        assert is_refused(await send(api, "b"))
        api.client.headers["Authorization"] = f"Bearer {await api.key('ingest', mode='test')}"
        assert (await send(api, "b")).status_code == 202


async def test_a_backfill_passes_by_a_full_backlog(databases: TestDatabases, serve: Serve) -> None:
    async with serve(INGEST_BACKLOG_MAX="1") as api:
        await send(api, "a")
        filled = await api.client.post("/v1/events/backfill", json={"events": [body("b")]})
    assert filled.status_code == 200
    assert await fetch(databases.live, STORED) == [("b",)]


async def test_of_a_flood_all_that_was_acknowledged_is_stored(
    databases: TestDatabases, serve: Serve
) -> None:
    async with serve(INGEST_BACKLOG_MAX="3") as api:
        acknowledged: set[str] = set()
        refused = 0

        async def flood(sender: int) -> None:
            nonlocal refused
            for place in range(15):
                keys = [f"{sender}-{place}-{n}" for n in range(3)]
                answer = await send_batch(api, *keys)
                assert answer.status_code == 207 or is_refused(answer)
                if answer.status_code == 207:
                    acknowledged.update(keys)
                else:
                    refused += 1
                    await land_all(api.contexts["live"])

        await asyncio.gather(*(flood(sender) for sender in range(6)))
        await land_all(api.contexts["live"])
    assert refused > 0
    assert {key for (key,) in await fetch(databases.live, STORED)} == acknowledged


async def test_operators_see_what_waits_and_what_was_set_aside(
    databases: TestDatabases, serve: Serve, clock: FakeClock
) -> None:
    async with serve() as api:
        assert set((await gauges(api)).values()) == {"0.0"}
        await send_batch(api, "a", "b")
        clock.advance(timedelta(seconds=90))
        await send(api, "c")
        assert await gauges(api) == {
            "inbox_rows": "2.0",
            "inbox_events": "3.0",
            "inbox_age_seconds": "90.0",
            "quarantine_rows": "0.0",
        }
        await fetch(databases.live, "UPDATE event_inbox SET events = 'x' WHERE event_count = 1")
        await land_all(api.contexts["live"])
        assert await gauges(api) == {
            "inbox_rows": "0.0",
            "inbox_events": "0.0",
            "inbox_age_seconds": "0.0",
            "quarantine_rows": "1.0",
        }
