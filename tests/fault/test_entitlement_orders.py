"""Orders of events between a change, the cache and a check that only luck brings about in a storm.

The cache's time to live is so long that a wrong grant would still be there to be seen, and no
process has anything at hand that it would give instead.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from tests.support.cache_servers import cache_server
from tests.support.cached_process import Precaution
from tests.support.fleet import fleet
from tests.support.grant_fire import Fire, fire
from tests.support.grant_history import GrantHistory, Stale
from tests.support.grant_sites import Site
from tests.support.granted_lives import FEATURES, Asked, GrantedLife
from tests.support.metering import fetch
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

SEED = 20_261_127
RUNGS = 8
# A machine may be so slow that what a wrong grant is shown by has ended by itself.
TRIED_MAX = 3
LONG_TTL = "10s"
# What a change that cannot tell the cache waits for.
SHORT_TTL = "2s"
LEASE = b"lease:"

Scenario = Callable[[Fire, "Customer"], Awaitable[None]]


class Customer:
    """Acme on the first rung, which is what the cache holds."""

    def __init__(self, it: Fire, history: GrantHistory, life: GrantedLife) -> None:
        self.it, self.history, self.life = it, history, life

    async def ask(self, asked: Asked, site: Site) -> None:
        self.life.answered(await self.it.change(self.history, asked, site))

    async def check(self, *sites: Site) -> None:
        for site in sites:
            for feature in FEATURES:
                await self.it.check(self.history, site, feature)

    async def warm(self, site: Site) -> None:
        """The cache holds what is granted, put there by this site."""
        await self.it.server.flush()
        await self.check(site)
        await eventually(self.is_cached)

    async def is_cached(self) -> bool:
        held = await self._held()
        return len(held) == 1 and not held[0].startswith(LEASE)

    async def is_leased(self) -> bool:
        held = await self._held()
        return len(held) == 1 and held[0].startswith(LEASE)

    async def _held(self) -> list[bytes]:
        async with Redis.from_url(self.it.server.url) as redis:
            keys = await redis.keys("abaxus:*")
            return [held for held in await redis.mget(keys) if held] if keys else []


async def changed_through_another(it: Fire, acme: Customer) -> None:
    first, second = it.sites
    await acme.warm(second)
    await acme.ask(acme.life.change(), first)
    await acme.check(second, first)


async def changed_where_the_cache_cannot_be_told(it: Fire, acme: Customer) -> None:
    first, second = it.sites
    await acme.warm(second)
    first.cache.part()
    await acme.ask(acme.life.change(), first)
    await acme.check(second, first)
    first.cache.mend()
    await acme.check(second, first)


async def changed_while_a_reader_is_on_its_way(it: Fire, acme: Customer) -> None:
    """PostgreSQL has answered the reader with what was granted before; it hears it, and fills the
    cache, after the change was answered."""
    changer, reader = it.sites
    await acme.warm(reader)
    await it.server.flush()
    withheld = reader.database.withheld
    reader.database.deafen()
    reading = asyncio.create_task(acme.check(reader))
    await eventually(acme.is_leased)
    await eventually(_is_withheld, reader, withheld)
    await acme.ask(acme.life.change(), changer)
    reader.database.mend()
    await reading
    await acme.check(changer, reader)


async def changed_by_one_that_died_before_it_told(it: Fire, acme: Customer) -> None:
    """Its caller asks another process again under the same key, and is answered what was kept."""
    first, second = it.sites
    await acme.warm(second)
    first.cache.part()
    amendments = await _amendments(it)
    changing = asyncio.create_task(acme.ask(acme.life.change(), first))
    await eventually(_are_more, it, amendments)
    await it.kill(first)
    await changing
    await acme.check(second)
    first.cache.mend()
    await it.begin(first)


async def changed_before_the_cache_came_back_with_an_old_dump(it: Fire, acme: Customer) -> None:
    first, second = it.sites
    await acme.warm(second)
    await it.server.ask("SAVE")
    await acme.ask(acme.life.change(), first)
    await it.server.restart()
    for _ in range(20):
        await acme.check(second, first)


async def due_while_it_is_cached(it: Fire, acme: Customer) -> None:
    """Nobody writes anything when it comes into force."""
    first, second = it.sites
    later = acme.life.change_later()
    asking = asyncio.create_task(acme.ask(later, first))
    while not asking.done():
        await acme.check(second, first)
    await asking
    await acme.check(second, first)


SCENARIOS: tuple[tuple[Scenario, str], ...] = (
    (changed_through_another, LONG_TTL),
    (changed_where_the_cache_cannot_be_told, SHORT_TTL),
    (changed_while_a_reader_is_on_its_way, LONG_TTL),
    (changed_by_one_that_died_before_it_told, LONG_TTL),
    (changed_before_the_cache_came_back_with_an_old_dump, LONG_TTL),
    (due_while_it_is_cached, LONG_TTL),
)


# What each precaution is for: without it, this shows an old grant.
NEEDED: tuple[tuple[Precaution, Scenario, str], ...] = (
    ("invalidation", changed_through_another, LONG_TTL),
    ("waiting", changed_where_the_cache_cannot_be_told, SHORT_TTL),
    ("lease", changed_while_a_reader_is_on_its_way, LONG_TTL),
    ("life", changed_before_the_cache_came_back_with_an_old_dump, LONG_TTL),
    ("replay", changed_by_one_that_died_before_it_told, LONG_TTL),
)


@pytest.mark.parametrize(("scenario", "ttl"), SCENARIOS)
async def test_the_change_is_seen(databases, scenario: Scenario, ttl: str) -> None:
    async with _scene(databases, ENTITLEMENT_CACHE_TTL=ttl) as (it, acme):
        await scenario(it, acme)
        assert acme.history.pairs > 0


@pytest.mark.parametrize(("precaution", "scenario", "ttl"), NEEDED)
async def test_it_is_not_without_the_precaution(
    databases, precaution: Precaution, scenario: Scenario, ttl: str
) -> None:
    async with _scene(databases, ENTITLEMENT_CACHE_TTL=ttl, PRECAUTION=precaution) as (it, acme):
        with pytest.raises(Stale):
            await _again_and_again(scenario, it, acme)


async def _again_and_again(scenario: Scenario, it: Fire, acme: Customer) -> None:
    for _ in range(TRIED_MAX):
        await scenario(it, acme)


@asynccontextmanager
async def _scene(databases: TestDatabases, **settings: str) -> AsyncIterator[tuple[Fire, Customer]]:
    async with (
        cache_server("valkey") as server,
        fleet(databases.dsn) as up,
        fire(up, databases, server, seed=SEED, rungs=RUNGS, AT_HAND="nothing", **settings) as it,
    ):
        acme = Customer(it, *await it.customer())
        await acme.ask(acme.life.subscribe(), it.sites[0])
        yield it, acme


async def _is_withheld(site: Site, before: int) -> bool:
    return site.database.withheld > before


async def _are_more(it: Fire, amendments: int) -> bool:
    return await _amendments(it) > amendments


async def _amendments(it: Fire) -> int:
    return len(await fetch(it.database, "SELECT 1 FROM amendments"))
