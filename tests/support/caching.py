"""Processes that share a cache of entitlements, each with links of its own, in one event loop."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from abaxus_core.domain.entitlement_documents import Snapshot
from abaxus_core.kernel.config import RedisUrl
from abaxus_core.kernel.database import open_databases
from abaxus_core.kernel.redis_link import RedisLink, open_link
from abaxus_core.services.entitlements.access import Asked, Entitlements, Snapshots
from abaxus_core.services.entitlements.cache import Redis, RedisCache
from abaxus_core.services.entitlements.stored import Stored
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import Context
from tests.support.cache_servers import CacheServer
from tests.support.postgres import SETTINGS
from tests.support.waiting import eventually, soon

PATIENT_MS = 10_000
HASTY_MS = 20
SPACE = "abaxus:test"


@dataclass
class Reader:
    """Reads PostgreSQL, and remembers what it was asked; all of a customer only as fast as told.

    `fills` holds back, after it was read, what is read for the cache.
    """

    stored: Snapshots
    asked: list[Asked] = field(default_factory=list)
    fills: asyncio.Event = field(default_factory=asyncio.Event)
    has_read: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        self.asked.extend(asked)
        found = await self.stored.read(asked)
        if any(one.feature_keys is None for one in asked):
            self.has_read.set()
            await soon(self.fills)
        return found

    def fills_asked(self) -> int:
        return sum(one.feature_keys is None for one in self.asked)


@dataclass
class Replica:
    """One process: `context` answers checks and tells of changes through its cache."""

    context: Context
    cache: RedisCache
    redis: Redis
    reader: Reader
    telemetry: Telemetry

    async def check(self, customer_id: str, *feature_keys: str) -> Snapshot | None:
        return await self.context.entitlements.snapshot(Asked(customer_id, feature_keys))

    async def filled(self, customer_id: str, *feature_keys: str) -> Snapshot | None:
        """A check whose snapshot is in the cache afterwards."""
        before = self.counted("fills")["stored"]
        found = await self.check(customer_id, *feature_keys)

        async def is_stored() -> bool:
            return self.counted("fills")["stored"] > before

        await eventually(is_stored)
        return found

    def counted(self, what: str) -> Counter[str]:
        """How often each outcome of `reads`, `fills` or `invalidations` has come."""
        name = f"abaxus_entitlement_cache_{what}"
        families = text_string_to_metric_families(self.telemetry.exposition().decode())
        (family,) = (family for family in families if family.name == name)
        found = (one for one in family.samples if one.name.endswith("_total"))
        return Counter({one.labels["outcome"]: int(one.value) for one in found})

    async def filling_ended(self) -> bool:
        return not self.cache._fills

    async def up(self) -> bool:
        return self.redis.reads.up and self.redis.changes.up


@asynccontextmanager
async def replica(
    dsn: str,
    context: Context,
    server: CacheServer,
    *,
    ttl: timedelta = timedelta(seconds=60),
    timeout_ms: int = PATIENT_MS,
    space: str = SPACE,
    url: str = "",
) -> AsyncIterator[Replica]:
    """A live process beside that of `context`, on its database, with a cache on `server`."""
    telemetry = Telemetry()

    async def linked(name: str) -> RedisLink:
        on_change = partial(telemetry.redis_changed, name)
        link = open_link(
            RedisUrl(url or server.url), name=name, timeout_ms=timeout_ms, on_change=on_change
        )
        return await stack.enter_async_context(link)

    async with AsyncExitStack() as stack:
        database = (await stack.enter_async_context(open_databases(dsn, SETTINGS))).live
        redis = Redis(
            reads=await linked("reads"), changes=await linked("changes"), space=space, ttl=ttl
        )
        reader = Reader(Stored(database, context.clock, telemetry))
        reader.fills.set()
        cache = RedisCache(redis, context.mode, reader, context.clock, telemetry)
        own = replace(
            context,
            database=database,
            telemetry=telemetry,
            entitlements=Entitlements(reader, cache=cache),
        )
        process = Replica(own, cache, redis, reader, telemetry)
        yield process
        reader.fills.set()
        await eventually(process.filling_ended)
