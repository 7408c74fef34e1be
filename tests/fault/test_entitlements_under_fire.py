"""After the answer to a change no check anywhere shows the old grant, whatever becomes of Redis.

Callers change grants and check them through two API processes; each check that starts after a
change was answered is a pair that must hold. ABAXUS_TEST_PAIRS says how many; `make soak` asks for
more.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Final

import pytest

from tests.support.cache_servers import Kind, cache_server
from tests.support.cached_process import Precaution
from tests.support.fleet import fleet
from tests.support.grant_fire import Fire, fire
from tests.support.grant_history import Stale
from tests.support.grant_sites import Site
from tests.support.postgres import TestDatabases

PAIRS: Final = int(os.environ.get("ABAXUS_TEST_PAIRS", "10000"))
SEED: Final = 20_261_127
CUSTOMERS: Final = 12
PAIRS_OF_A_LIFE: Final = 10_000
TTL_MS: Final = 300
HELD_MS: Final = (TTL_MS, 2 * TTL_MS)
CALM_MAX_MS: Final = 600
SLOW_MAX_MS: Final = 30
FLUSHES: Final = 20
CUTS: Final = 5
LASTS_MAX_S: Final = 600
# At least one check of so many was answered by the cache.
HITS_OF: Final = 10
PAIRS_OF_A_CONTROL: Final = 20_000
SETTINGS: Final = {"ENTITLEMENT_CACHE_TTL": f"{TTL_MS}ms"}

Breaking = Callable[[Fire], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def killed(it: Fire) -> AsyncIterator[None]:
    await it.server.kill()
    yield
    await it.server.start()


@asynccontextmanager
async def restarted(it: Fire) -> AsyncIterator[None]:
    await it.server.restart()
    yield


@asynccontextmanager
async def paused(it: Fire) -> AsyncIterator[None]:
    it.server.pause()
    yield
    it.server.resume()


@asynccontextmanager
async def flushed(it: Fire) -> AsyncIterator[None]:
    for _ in range(FLUSHES):
        await it.server.flush()
        await asyncio.sleep(TTL_MS / FLUSHES / 1000)
    yield


@asynccontextmanager
async def parted(it: Fire) -> AsyncIterator[None]:
    """One of the processes is, and what it sent meanwhile arrives afterwards."""
    site = _one(it)
    site.cache.part()
    yield
    site.cache.mend()


@asynccontextmanager
async def deaf(it: Fire) -> AsyncIterator[None]:
    """What one of the processes asks is done; it does not hear of it."""
    site = _one(it)
    site.cache.deafen()
    yield
    site.cache.mend()


@asynccontextmanager
async def slow(it: Fire) -> AsyncIterator[None]:
    site = _one(it)
    site.cache.delay_s = it.dice.randrange(1, SLOW_MAX_MS) / 1000
    yield
    site.cache.delay_s = 0


@asynccontextmanager
async def cut(it: Fire) -> AsyncIterator[None]:
    for _ in range(CUTS):
        it.dice.choice(it.sites).cache.cut()
        await asyncio.sleep(TTL_MS / CUTS / 1000)
    yield


@asynccontextmanager
async def slow_reader(it: Fire) -> AsyncIterator[None]:
    """One of the processes hears PostgreSQL late, and fills the cache with what was."""
    site = _one(it)
    site.database.deafen()
    await it.server.flush()
    yield
    site.database.mend()


@asynccontextmanager
async def unheard(it: Fire) -> AsyncIterator[None]:
    """The connections of one of the processes to PostgreSQL break, at a commit perhaps."""
    site = _one(it)
    for _ in range(CUTS):
        site.database.cut()
        await asyncio.sleep(TTL_MS / CUTS / 1000)
    yield


@asynccontextmanager
async def stopped(it: Fire) -> AsyncIterator[None]:
    """One of the processes stands still, between a read and a fill or a commit and an answer."""
    site = _one(it)
    site.stop()
    yield
    site.go_on()


@asynccontextmanager
async def died(it: Fire) -> AsyncIterator[None]:
    """One of the processes dies, after a commit and before it told the cache, perhaps."""
    site = _one(it)
    await it.kill(site)
    yield
    await it.begin(site)


FAULTS: Final[Mapping[str, Breaking]] = {
    each.__name__: each
    for each in (
        killed,
        restarted,
        paused,
        flushed,
        parted,
        deaf,
        slow,
        cut,
        slow_reader,
        unheard,
        stopped,
        died,
    )
}


# Those that have nothing to do with a cache.
UNCACHED: Final = ("slow_reader", "unheard", "stopped", "died")
# What each precaution is for: without it, this shows an old grant, where the cache is always asked.
NEEDED: Final[Sequence[tuple[Precaution, Sequence[str]]]] = (
    ("invalidation", ("flushed",)),
    ("waiting", ("parted",)),
    ("lease", ("slow_reader",)),
)


def _one(it: Fire) -> Site:
    return it.dice.choice(it.sites)


async def storm(it: Fire, pairs: int, faults: Sequence[str]) -> None:
    """Judge so many pairs, of new customers every so often: lives that go on and on get slow."""
    while it.pairs < pairs or len(it.faults) < len(faults):
        it.over = False
        enough = min(pairs, it.pairs + PAIRS_OF_A_LIFE)
        customers = [await it.customer() for _ in range(CUSTOMERS)]
        async with asyncio.timeout(LASTS_MAX_S), asyncio.TaskGroup() as all_of_it:
            for history, life in customers:
                all_of_it.create_task(it.live(history, life))
            all_of_it.create_task(rage(it, enough, faults))


async def rage(it: Fire, pairs: int, faults: Sequence[str]) -> None:
    """Have the faults strike one after another, each once before any does again."""
    while it.pairs < pairs or len(it.faults) < len(faults):
        for name in it.dice.sample(faults, len(faults)):
            await asyncio.sleep(it.dice.uniform(0, CALM_MAX_MS) / 1000)
            async with FAULTS[name](it):
                await asyncio.sleep(it.dice.uniform(*HELD_MS) / 1000)
            it.faults[name] += 1
    it.over = True


@pytest.mark.parametrize(
    ("kind", "pairs", "at_hand"),
    [("valkey", PAIRS, "what is kept"), ("redis", PAIRS // 5, "nothing")],
)
async def test_no_check_shows_a_grant_older_than_an_answered_change(
    databases, kind: Kind, pairs: int, at_hand: str
) -> None:
    async with fired(databases, kind, AT_HAND=at_hand) as it:
        started_s = monotonic()
        await storm(it, pairs, tuple(FAULTS))
        await said(it, kind, monotonic() - started_s)
        assert it.pairs >= pairs
        assert it.told["reads hit"] * HITS_OF >= it.pairs, "the cache was hardly asked"
        assert it.told["fills overtaken"] > 0, "no change overtook a reader"


async def test_nor_does_one_where_there_is_no_cache(databases) -> None:
    async with fired(databases, "valkey", REDIS_URL="") as it:
        started_s = monotonic()
        await storm(it, PAIRS // 5, UNCACHED)
        await said(it, "no cache", monotonic() - started_s)
        assert not it.told


@pytest.mark.parametrize(("precaution", "faults"), NEEDED)
async def test_without_a_precaution_the_checker_fails(
    databases, precaution: Precaution, faults: Sequence[str]
) -> None:
    async with fired(databases, "valkey", PRECAUTION=precaution, AT_HAND="nothing") as it:
        await finds_a_stale_grant(it, precaution, faults)


async def test_nor_without_the_wait_for_what_others_keep(databases) -> None:
    keeping: Precaution = "keeping"
    async with fired(databases, "valkey", REDIS_URL="", PRECAUTION=keeping) as it:
        await finds_a_stale_grant(it, keeping, UNCACHED)


async def finds_a_stale_grant(it: Fire, without: Precaution, faults: Sequence[str]) -> None:
    started_s = monotonic()
    with pytest.raises(ExceptionGroup) as found:
        await storm(it, PAIRS_OF_A_CONTROL, faults)
    stale, other = found.value.split(Stale)
    assert stale is not None
    assert other is None
    await said(it, f"without {without}", monotonic() - started_s)


@asynccontextmanager
async def fired(databases: TestDatabases, kind: Kind, **settings: str) -> AsyncIterator[Fire]:
    async with (
        cache_server(kind) as server,
        fleet(databases.dsn) as up,
        fire(up, databases, server, seed=SEED, **SETTINGS, **settings) as it,
    ):
        yield it


async def said(it: Fire, name: str, lasted_s: float) -> None:
    for site in it.sites:
        await it.count(site)
    print(
        f"{name}: {it.pairs} pairs of {it.changes} changes in {lasted_s:.0f} s, "
        f"{it.faults.total()} faults {dict(it.faults)}, {dict(it.told)}, {dict(it.met)}"
    )
