"""LISTEN and NOTIFY over real connections, and the cache that lives by them."""

import asyncio

from abaxus_core.kernel.cache import Cache
from abaxus_core.kernel.database import Database, Databases, open_databases
from tests.support.postgres import SETTINGS, TestDatabases
from tests.support.waiting import eventually

TOPIC = "things"


async def listens(databases: Databases) -> bool:
    return databases.listener.connected(databases.live.channel(TOPIC))


async def heard_all(heard: list[str], wanted: set[str]) -> bool:
    return wanted <= set(heard)


async def cut(database: Database, *, whose_query_has: str = "") -> int:
    """How many connections it cut: all others, or those that last ran what is named."""
    async with database.connection() as conn:
        ended = await conn.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND strpos(query, $1) > 0",
            whose_query_has,
        )
    return len(ended)


async def test_every_payload_arrives_once_in_another_process_however_many_at_once(
    live: Database, databases: TestDatabases
) -> None:
    heard: list[str] = []
    async with open_databases(databases.dsn, SETTINGS) as elsewhere:
        elsewhere.listener.subscribe(live.channel(TOPIC), heard.append)
        await eventually(listens, elsewhere)
        heard.clear()
        wanted = {f"p{number}" for number in range(300)}
        for payload in sorted(wanted):
            live.wake(TOPIC, payload)
            live.wake(TOPIC, payload)
        await eventually(heard_all, heard, wanted)
    assert len(heard) == len(wanted)


async def test_too_many_payloads_become_one_that_means_all(
    live: Database, databases: TestDatabases
) -> None:
    heard: list[str] = []
    async with open_databases(databases.dsn, SETTINGS) as elsewhere:
        elsewhere.listener.subscribe(live.channel(TOPIC), heard.append)
        await eventually(listens, elsewhere)
        heard.clear()
        for number in range(5_000):
            live.wake(TOPIC, f"p{number}")
        await eventually(heard_all, heard, {""})
    assert len(heard) < 5_000


async def test_listener_comes_back_after_a_cut_and_says_that_anything_may_have_happened(
    live: Database, databases: TestDatabases
) -> None:
    heard: list[str] = []
    async with open_databases(databases.dsn, SETTINGS) as elsewhere:
        elsewhere.listener.subscribe(live.channel(TOPIC), heard.append)
        await eventually(listens, elsewhere)
        heard.clear()
        await cut(live)
        await eventually(heard_all, heard, {""})
        live.wake(TOPIC, "after")
        await eventually(heard_all, heard, {"after"})


async def test_notifier_comes_back_after_a_cut_with_what_it_had(
    live: Database, databases: TestDatabases
) -> None:
    heard: list[str] = []
    async with open_databases(databases.dsn, SETTINGS) as elsewhere:
        live.listener.subscribe(live.channel(TOPIC), heard.append)
        await eventually(listens, databases.open)
        elsewhere.live.wake(TOPIC, "before")
        await eventually(heard_all, heard, {"before"})
        assert await cut(live, whose_query_has="pg_notify(waiting.channel") == 1
        for number in range(10):
            elsewhere.live.wake(TOPIC, f"p{number}")
        await eventually(heard_all, heard, {f"p{number}" for number in range(10)})


class Shelf:
    """What a cache loads from, and how often it did."""

    def __init__(self) -> None:
        self.value: str | None = "old"
        self.loads = 0

    async def load(self) -> str | None:
        self.loads += 1
        return self.value


def cache_on(databases: Databases, entries_max: int = 10) -> Cache[str]:
    return Cache(databases.listener, databases.live.channel(TOPIC), entries_max=entries_max)


async def test_cache_loads_once_and_again_after_a_change_elsewhere(
    live: Database, databases: TestDatabases
) -> None:
    shelf = Shelf()
    async with open_databases(databases.dsn, SETTINGS) as elsewhere:
        cache = cache_on(elsewhere)
        await eventually(listens, elsewhere)
        assert [await cache.get("k", shelf.load) for _ in range(3)] == ["old"] * 3
        assert shelf.loads == 1
        shelf.value = "new"
        live.wake(TOPIC, "other")
        live.wake(TOPIC, "k")
        await eventually(answers, cache, shelf, "new")


async def answers(cache: Cache[str], shelf: Shelf, value: str) -> bool:
    return await cache.get("k", shelf.load) == value


async def test_cache_of_the_process_that_writes_forgets_before_the_write_returns(
    databases: TestDatabases,
) -> None:
    shelf = Shelf()
    cache = cache_on(databases.open)
    await eventually(listens, databases.open)
    await cache.get("k", shelf.load)
    shelf.value = "new"
    databases.live.wake(TOPIC, "k")
    assert await cache.get("k", shelf.load) == "new"


async def test_cache_passes_through_while_nobody_listens(databases: TestDatabases) -> None:
    shelf = Shelf()
    cache = cache_on(databases.open)
    assert not databases.listener.connected(databases.live.channel(TOPIC))
    assert [await cache.get("k", shelf.load) for _ in range(3)] == ["old"] * 3
    assert shelf.loads == 3


async def test_load_that_began_before_an_invalidation_is_not_kept(
    databases: TestDatabases,
) -> None:
    shelf = Shelf()
    cache = cache_on(databases.open)
    await eventually(listens, databases.open)
    loading, go_on = asyncio.Event(), asyncio.Event()

    async def slow_load() -> str | None:
        value = await shelf.load()
        loading.set()
        await go_on.wait()
        return value

    reader = asyncio.create_task(cache.get("k", slow_load))
    await loading.wait()
    shelf.value = "new"
    databases.live.wake(TOPIC, "k")
    go_on.set()
    assert await reader == "old"
    assert await cache.get("k", shelf.load) == "new"


async def test_absence_is_not_remembered_and_the_oldest_go_first(databases: TestDatabases) -> None:
    shelf = Shelf()
    cache = cache_on(databases.open, entries_max=2)
    await eventually(listens, databases.open)
    shelf.value = None
    assert await cache.get("a", shelf.load) is None
    shelf.value = "old"
    for key in ("a", "b", "a", "c"):
        await cache.get(key, shelf.load)
    before = shelf.loads
    assert await cache.get("a", shelf.load) == "old"
    assert shelf.loads == before
    await cache.get("b", shelf.load)
    assert shelf.loads == before + 1
