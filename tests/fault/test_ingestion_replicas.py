"""Two API processes and a worker that know nothing of each other: one truth."""

import asyncio
import os
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest

from abaxus_core.domain.instants import text_of
from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.kernel.notifications import Notifier
from abaxus_core.services import metrics
from abaxus_core.services.work import Work, perform
from tests.support.api import bearer, new_key
from tests.support.clock import FakeClock
from tests.support.feeding import check_rollups
from tests.support.fleet import Fleet, fleet
from tests.support.metering import T0, context_of, fetch, make_catalogue
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.waiting import eventually

SEED = 5
BATCHES = 50
DISTINCT = 20
BATCH_EVENTS = 100

SWITCHES = 5
CUT_LISTENERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'abaxus-api'
        AND query ~ '^LISTEN|AS alive'
"""
LISTENERS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'abaxus-api'
        AND query ~ '^LISTEN|AS alive'
"""

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
    return {key: text_of(cast("datetime", instant)) for key, instant in rows}


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


async def outcome(client: httpx.AsyncClient, key: str, **fields: object) -> str:
    """What became of one event: queued, duplicate, or the code of its error."""
    event = {
        "customer_id": "acme",
        "metric_key": "total",
        "value": 1,
        "timestamp": text_of(T0),
        "idempotency_key": key,
        **fields,
    }
    answer = (await client.post("/v1/events", json=event)).json()
    if "error" in answer:
        return str(answer["error"]["code"])
    return "duplicate" if answer["duplicate"] else "queued"


async def answers(client: httpx.AsyncClient, wanted: str) -> bool:
    return await outcome(client, uuid4().hex) == wanted


async def test_a_metric_switched_off_takes_nothing_new_anywhere(
    live: Database, up: Fleet, apis: Sequence[httpx.AsyncClient]
) -> None:
    here, there = apis
    await up.worker()
    for client in apis:
        assert await outcome(client, "known") in ("queued", "duplicate")
    await eventually(inbox_is_empty, live)
    for _ in range(SWITCHES):
        assert (await here.post("/v1/metrics/total/deactivate")).status_code == 200
        assert await outcome(here, uuid4().hex) == "METRIC_INACTIVE"
        await eventually(answers, there, "METRIC_INACTIVE")
        assert await outcome(there, uuid4().hex) == "METRIC_INACTIVE"
        for client in apis:
            assert await outcome(client, "known") == "duplicate"
            assert await outcome(client, uuid4().hex, metric_key="calls") == "queued"
        assert (await here.post("/v1/metrics/total/activate")).status_code == 200
        assert await outcome(here, uuid4().hex) == "queued"
        await eventually(answers, there, "queued")


async def test_what_was_made_a_moment_ago_on_another_replica_is_known(
    apis: Sequence[httpx.AsyncClient],
) -> None:
    for number in range(SWITCHES):
        here, there = apis if number % 2 else apis[::-1]
        customer, metric = {"customer_id": f"new{number}"}, {"metric_key": f"new_{number}"}
        assert await outcome(there, "early", **customer) == "CUSTOMER_NOT_FOUND"
        assert await outcome(there, "early", **metric) == "METRIC_NOT_FOUND"
        made = await here.post("/v1/customers", json={"id": f"new{number}"})
        assert made.status_code == 201, made.text
        made = await here.post("/v1/metrics", json={"key": f"new_{number}", "aggregation": "sum"})
        assert made.status_code == 201, made.text
        for client in (there, here):
            assert await outcome(client, uuid4().hex, **customer, **metric) == "queued"


async def test_a_replica_whose_listener_was_cut_does_not_stay_behind(
    live: Database, apis: Sequence[httpx.AsyncClient]
) -> None:
    here, there = apis
    dice = random.Random(SEED)
    for number in range(SWITCHES):
        await eventually(answers, there, "queued")
        switched = asyncio.create_task(here.post("/v1/metrics/total/deactivate"))
        await asyncio.sleep(dice.uniform(0, 0.01))
        await fetch(live, CUT_LISTENERS)
        assert (await switched).status_code == 200
        await eventually(answers, there, "METRIC_INACTIVE")
        await eventually(answers, here, "METRIC_INACTIVE")
        assert (await apis[number % 2].post("/v1/metrics/total/activate")).status_code == 200


async def test_a_replica_whose_listener_goes_silent_is_behind_for_a_heartbeat_at_most(
    live: Database, apis: Sequence[httpx.AsyncClient]
) -> None:
    """The connections stay open and say nothing: the server's end of each is stopped."""
    here, there = apis
    for client in apis:
        assert await outcome(client, uuid4().hex) == "queued"
    stopped = [int(str(pid)) for (pid,) in await fetch(live, LISTENERS)]
    assert len(stopped) == len(apis)
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        assert (await here.post("/v1/metrics/total/deactivate")).status_code == 200
        assert await outcome(here, uuid4().hex) == "METRIC_INACTIVE"
        await eventually(answers, there, "METRIC_INACTIVE")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


async def test_a_change_is_heard_though_its_maker_dies_right_after_the_commit(
    up: Fleet,
    apis: Sequence[httpx.AsyncClient],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The maker is this process; it gets no further than the commit."""

    async def get_no_further(_notifier: Notifier) -> None:
        await asyncio.Event().wait()

    async def deactivate(work: Work) -> None:
        await metrics.deactivate(work, "total")

    assert await outcome(apis[0], uuid4().hex) == "queued"
    monkeypatch.setattr(Notifier, "_run", get_no_further)
    async with open_databases(up.environ["DATABASE_URL"], SETTINGS) as maker:
        await perform(context_of(maker.live, clock), "system", deactivate)
        await eventually(answers, apis[0], "METRIC_INACTIVE")
