"""64 callers at once over HTTP and two API processes' pools, and never more than the limit.

All of them ask at once for what is left, and together get exactly that, while connections to the
database are cut; in every fifth round they have reserved, committed, released and forgotten before.
The same without the lock: then they must get more.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

import asyncpg
import httpx
import msgspec
import pytest

from abaxus_core.domain.decimals import ZERO, plain
from abaxus_core.http import app
from abaxus_core.kernel import sql
from abaxus_core.kernel.database import open_databases
from abaxus_core.repositories import reservations as repository
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import RESERVING_MAX
from tests.support.api import bearer, new_key
from tests.support.clock import FakeClock
from tests.support.collection import ENVIRON
from tests.support.metering import context_of, fetch
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.servers import client_of
from tests.support.shop import PATH, Shop, out_of_step, shop_of

T = TypeVar("T")

ROUNDS: Final = int(os.environ.get("ABAXUS_TEST_RESERVATION_ROUNDS", "50"))
SEED: Final = int(os.environ.get("ABAXUS_TEST_RESERVATION_SEED", "20261126"))
CALLERS: Final = 64
# Of one server as it is, and of one where half of its callers wait for the lock with a connection.
AT_ONCE: Final = (RESERVING_MAX, CALLERS // 4)
CONNECTIONS_MAX: Final = 25
LIVED_EVERY: Final = 5
LIMIT: Final = Decimal(1000)
SHARE: Final = 25
SMALLEST: Final = Decimal("0.0000000001")
EXPIRES_IN_S: Final = 30
ATTEMPTS_MAX: Final = 500
RETRY_EVERY_MS: Final = 5
LOOK_EVERY_MS: Final = 100
TRY_AGAIN: Final = {"NOT_READY", "REQUEST_IN_PROGRESS"}
MASTER_KEY: Final = {"API_MASTER_KEY": ENVIRON["API_MASTER_KEY"]}
GUARD: Final = "FOR NO KEY UPDATE OF t"

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND application_name = 'stormed'
"""
# Usage, what is held, and what was committed without an event, of whoever has most: one snapshot.
TAKEN = """
SELECT max(t.held + t.committed + coalesce(
    (SELECT sum(d.value_sum) FROM usage_daily AS d WHERE d.customer_no = t.customer_no), 0
))
FROM reservation_tallies AS t
"""


@dataclass
class Storm:
    """The callers of all rounds, each at one of the servers."""

    clients: Sequence[httpx.AsyncClient]
    clock: FakeClock
    database: Any
    chance: random.Random
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    seen: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    async def ask(self, caller: int, path: str, key: str, **body: object) -> dict[str, Any]:
        """Ask under one key until there is an answer, whatever happens on the way."""
        client = self.clients[caller % len(self.clients)]
        for _ in range(ATTEMPTS_MAX):
            try:
                response = await client.post(path, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                self.count("cut off")
            else:
                answer: dict[str, Any] = response.json()
                if response.is_success:
                    return answer
                self.count(answer["error"]["code"])
                assert answer["error"]["code"] in TRY_AGAIN, answer
            await asyncio.sleep(RETRY_EVERY_MS / 1000)
        raise AssertionError(f"{path} is never answered")

    async def reserve(
        self, caller: int, customer_id: str, quantity: Decimal, key: str
    ) -> dict[str, Any]:
        answer = await self.ask(
            caller,
            PATH,
            key,
            customer_id=customer_id,
            feature_key="tokens",
            quantity=plain(quantity),
            expires_in=EXPIRES_IN_S,
        )
        self.count("granted" if answer["granted"] else "refused")
        return answer


async def test_64_callers_get_exactly_the_limit(databases: TestDatabases, clock: FakeClock) -> None:
    async with storming(databases, clock) as (storm, shop), asyncio.TaskGroup() as group:
        over = asyncio.Event()
        watching = group.create_task(cut_and_watch(storm, databases.dsn, over))
        for number in range(ROUNDS):
            customer_id = await newcomer(shop, number)
            before = await live(storm, customer_id) if number % LIVED_EVERY == 0 else ZERO
            storm.cut.set()
            clock.advance(timedelta(seconds=EXPIRES_IN_S))
            await fill(storm, customer_id, LIMIT - before)
        over.set()
        print(f"seed {SEED}, {ROUNDS} rounds, most taken {await watching}: {storm.seen}")
        assert await out_of_step(databases.live) == []
        assert storm.seen["NOT_READY"] > 0


async def test_without_the_lock_they_get_more(
    databases: TestDatabases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lock_tally", "lock_tally_of"):
        monkeypatch.setattr(repository, f"_{name}", sql.Maybe(unguarded(name)))
    async with storming(databases, clock) as (storm, shop):
        customer_id = await newcomer(shop, 0)
        with pytest.raises(AssertionError, match="more than there was"):
            await fill(storm, customer_id, LIMIT)
    ((taken,),) = await fetch(databases.live, TAKEN)
    print(f"without the lock: {taken} of {LIMIT}")
    assert isinstance(taken, Decimal)
    assert taken > LIMIT


async def live(storm: Storm, customer_id: str) -> Decimal:
    """Each caller reserves once and does one thing with it: what was committed in all."""
    storm.cut.set()
    quantities = [Decimal(storm.chance.randint(1, 40)) for _ in range(CALLERS)]
    fates = [storm.chance.choice(FATES) for _ in range(CALLERS)]
    lives = (
        one_life(storm, caller, customer_id, quantities[caller], fates[caller])
        for caller in range(CALLERS)
    )
    return sum(await at_once(lives), ZERO)


FATES = ("with event", "part", "without event", "released", "forgotten")


async def one_life(
    storm: Storm, caller: int, customer_id: str, quantity: Decimal, fate: str
) -> Decimal:
    """What is committed in the end."""
    key = f"{customer_id}-{caller}"
    made = await storm.reserve(caller, customer_id, quantity, f"{key}-reserve")
    if not made["granted"] or fate == "forgotten":
        return ZERO
    path = f"{PATH}/{made['id']}"
    if fate == "released":
        await storm.ask(caller, f"{path}/release", f"{key}-release")
        return ZERO
    committed = max(Decimal(1), quantity // 2) if fate == "part" else quantity
    event = {
        "customer_id": customer_id,
        "metric_key": "tokens",
        "value": plain(committed),
        "timestamp": storm.clock.now.isoformat(),
        "idempotency_key": key,
    }
    sent = {} if fate == "without event" else {"event": event}
    await storm.ask(caller, f"{path}/commit", f"{key}-commit", quantity=plain(committed), **sent)
    storm.count(f"committed {fate}")
    return committed


async def fill(storm: Storm, customer_id: str, room: Decimal) -> None:
    """All ask at once for what is left. Nothing is given back meanwhile, so that who is refused
    had no room then, nor has it afterwards."""
    equal = storm.chance.random() < 0.5
    asked = [
        Decimal(SHARE) if equal else Decimal(storm.chance.randint(1, 60_000)) / 1000
        for _ in range(CALLERS)
    ]
    answers = await at_once(
        storm.reserve(caller, customer_id, asked[caller], f"{customer_id}-{caller}-fill")
        for caller in range(CALLERS)
    )
    granted = sum(
        (quantity for quantity, answer in zip(asked, answers, strict=True) if answer["granted"]),
        ZERO,
    )
    assert granted <= room, f"{granted} is more than there was: {room}"
    left = room - granted
    for quantity, answer in zip(asked, answers, strict=True):
        assert answer["granted"] or quantity > left, (quantity, left)
    if left:
        last = await storm.reserve(0, customer_id, left, f"{customer_id}-last")
        assert last["granted"], (left, last)
    more = await storm.reserve(0, customer_id, SMALLEST, f"{customer_id}-more")
    assert (more["granted"], more["available"]) == (False, "0")


async def at_once(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in calls]
    return [task.result() for task in tasks]


async def newcomer(shop: Shop, number: int) -> str:
    customer_id = f"c{number}"
    await shop.books.customer(customer_id)
    await shop.books.subscribe(customer_id, "a", start="2026-05-01")
    return customer_id


async def cut_and_watch(storm: Storm, dsn: str, over: asyncio.Event) -> Decimal:
    """The most that anybody has ever taken. Where asked to, it cuts the servers' connections."""
    conn = await asyncpg.connect(dsn, server_settings={"search_path": "abaxus_live"})
    most = ZERO
    try:
        while not over.is_set():
            most = max(most, await conn.fetchval(TAKEN) or ZERO)
            assert most <= LIMIT
            if storm.cut.is_set():
                storm.cut.clear()
                await conn.execute(CUT)
                storm.count("cuts")
            await asyncio.sleep(LOOK_EVERY_MS / 1000)
    finally:
        await conn.close()
    return most


def unguarded(name: str) -> sql.Query:
    """The statement that locks, and does not."""
    query = sql.load("reservations")[name]
    assert GUARD in query.text
    return msgspec.structs.replace(query, text=query.text.replace(GUARD, ""))


@asynccontextmanager
async def storming(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[tuple[Storm, Shop]]:
    """Servers on ports of this machine, each with connections of its own."""
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(shop_of(databases, clock))
        await shop.grant(int(LIMIT))
        key = await new_key(shop.context, "entitlements", "ingest")
        clients = [
            await stack.enter_async_context(serving(databases.dsn, clock, key, at_once=at_once))
            for at_once in AT_ONCE
        ]
        yield Storm(clients, clock, databases.live, random.Random(SEED)), shop


@asynccontextmanager
async def serving(
    dsn: str, clock: FakeClock, key: str, *, at_once: int
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that listens, and changes so many reservations at once."""
    stormed = msgspec.structs.replace(
        SETTINGS, application_name="stormed", connections_max=CONNECTIONS_MAX
    )
    async with open_databases(dsn, stormed) as databases:
        contexts = {
            mode: replace(
                context_of(databases.of(mode), clock, API_RATE_LIMIT_RPM="0", **MASTER_KEY),
                reserving=asyncio.Semaphore(at_once),
            )
            for mode in ("live", "test")
        }
        asgi = app.build(contexts, contexts["live"].settings, Telemetry())
        async with client_of(asgi, bearer(key)) as client:
            yield client
