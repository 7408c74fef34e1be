"""Two API processes and a worker that know nothing of each other: one truth."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from abaxus_core.domain.instants import text_of
from abaxus_core.kernel.database import Database
from tests.support.api import bearer, new_key
from tests.support.clock import FakeClock
from tests.support.feeding import check_rollups
from tests.support.fleet import Fleet, fleet
from tests.support.metering import T0, context_of, fetch, make_catalogue
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

SEED = 5
BATCHES = 50
DISTINCT = 20
BATCH_EVENTS = 100

Sent = dict[str, Any]
Payloads = Mapping[str, set[object]]


@pytest.fixture
async def live(databases: TestDatabases) -> Database:
    await make_catalogue(databases.live)
    return databases.live


@pytest.fixture
async def up(databases: TestDatabases, live: Database) -> AsyncIterator[Fleet]:
    async with fleet(databases.dsn) as up:
        yield up


@pytest.fixture
async def apis(up: Fleet, live: Database, clock: FakeClock) -> Sequence[httpx.AsyncClient]:
    """Clients of two API processes, with a key that may do everything."""
    key = await new_key(context_of(live, clock), "admin")
    clients = [up.client((await up.listening_api()).port) for _ in range(2)]
    for client in clients:
        client.headers.update(bearer(key))
    return clients


def shuffled(dice: random.Random) -> list[Sent]:
    """One and the same batch under timestamps that have changed places."""
    hours = list(range(BATCH_EVENTS))
    dice.shuffle(hours)
    return [
        {
            "customer_id": "acme",
            "metric_key": "total",
            "value": place,
            "timestamp": text_of(T0 + timedelta(hours=hour)),
            "idempotency_key": f"key-{place}",
        }
        for place, hour in enumerate(hours)
    ]


def payloads(batches: Sequence[Sequence[Sent]]) -> Payloads:
    """The timestamps that were sent under each key."""
    seen: dict[str, set[object]] = defaultdict(set)
    for batch in batches:
        for each in batch:
            seen[each["idempotency_key"]].add(each["timestamp"])
    return seen


async def send(client: httpx.AsyncClient, batch: Sequence[Sent]) -> None:
    answer = await client.post("/v1/events/batch", json={"events": batch})
    assert answer.status_code == 207, answer.text
    assert answer.json()["accepted"] + answer.json()["duplicates"] == len(batch)


async def stored_of(live: Database) -> dict[object, object]:
    """The timestamp that is stored under each key, each stored once."""
    rows = await fetch(live, "SELECT idempotency_key, occurred_at FROM events")
    assert len(rows) == len({key for key, _ in rows})
    return {key: text_of(instant) for key, instant in rows}  # type: ignore[arg-type]


async def conflicts_of(live: Database) -> Payloads:
    """The timestamps that are recorded as conflicts under each key, each recorded once."""
    rows = await fetch(
        live, "SELECT event ->> 'idempotency_key', event ->> 'occurred_at' FROM event_conflicts"
    )
    assert len(rows) == len(set(rows))
    seen: dict[str, set[object]] = defaultdict(set)
    for key, instant in rows:
        seen[str(key)].add(instant)
    return seen


async def inbox_is_empty(live: Database) -> bool:
    return await fetch(live, "SELECT 1 FROM event_inbox LIMIT 1") == []


async def test_one_batch_fifty_times_at_once_counts_once(
    live: Database, up: Fleet, apis: Sequence[httpx.AsyncClient]
) -> None:
    dice = random.Random(SEED)
    kinds = [shuffled(dice) for _ in range(DISTINCT)]
    batches = [dice.choice(kinds) for _ in range(BATCHES)]
    await up.worker()
    await asyncio.gather(*(send(apis[number % 2], batch) for number, batch in enumerate(batches)))
    await eventually(inbox_is_empty, live)
    sent = payloads(batches)
    stored = await stored_of(live)
    assert set(stored) == set(sent)
    assert all(stored[key] in sent[key] for key in sent)
    assert await conflicts_of(live) == {
        key: sent[key] - {stored[key]} for key in sent if len(sent[key]) > 1
    }
    await check_rollups(live)


async def test_of_one_batch_fifty_times_the_first_wins(
    live: Database, up: Fleet, apis: Sequence[httpx.AsyncClient]
) -> None:
    """The first is acknowledged before the others are sent, and still waits to land."""
    dice = random.Random(SEED + 1)
    first, *others = (shuffled(dice) for _ in range(BATCHES))
    await send(apis[0], first)
    await asyncio.gather(*(send(apis[number % 2], batch) for number, batch in enumerate(others)))
    await up.worker()
    await eventually(inbox_is_empty, live)
    for number, batch in enumerate(others):
        await send(apis[number % 2], batch)
    await eventually(inbox_is_empty, live)
    sent = payloads([first, *others])
    stored = await stored_of(live)
    assert stored == {each["idempotency_key"]: each["timestamp"] for each in first}
    assert await conflicts_of(live) == {key: sent[key] - {stored[key]} for key in sent}
    await check_rollups(live)
