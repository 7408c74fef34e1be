"""Usage in a check may be as old as the cache lets it be, says how old it is, and is never newer
or older than it says.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from abaxus_core.services.work import Context
from tests.support.cache_servers import cache_server
from tests.support.clock import FakeClock
from tests.support.fleet import fleet
from tests.support.grant_fire import Fire, fire
from tests.support.granted_lives import METRIC, SEATS
from tests.support.metering import context_of, event, land_all, offer
from tests.support.postgres import TestDatabases

SEED: Final = 20_261_127
TTL: Final = timedelta(milliseconds=400)
# Redis reckons expiry in whole milliseconds, by a clock that it reads once a round.
GRAIN: Final = timedelta(milliseconds=5)
EVENTS: Final = 60
HOURS: Final = 24


async def test_usage_is_that_of_as_of_which_is_no_older_than_the_time_to_live(databases) -> None:
    async with used(databases) as use:
        lagged = 0
        for _ in range(EVENTS):
            await use.check()
            await use.land()
            lagged += await use.check()
        assert lagged > 0, "nothing was cached"
        await asyncio.sleep((TTL + GRAIN).total_seconds())
        assert await use.check() == 0


async def test_who_asks_past_the_cache_is_told_all_that_has_landed(databases) -> None:
    async with used(databases) as use:
        for _ in range(EVENTS):
            await use.check()
            await use.land()
            assert await use.check(**{"Cache-Control": "no-cache"}) == 0


@dataclass(slots=True)
class Use:
    """A customer's use of the metric; `landed_at` are the instants by which each event was in."""

    it: Fire
    context: Context
    customer_id: str
    landed_at: list[datetime] = field(default_factory=list)

    async def land(self) -> None:
        number = len(self.landed_at)
        sent = event(
            f"event-{number}",
            customer_id=self.customer_id,
            metric_key=METRIC,
            timestamp=datetime.now(UTC) - timedelta(hours=number % HOURS),
        )
        await offer(self.context, sent)
        await land_all(self.context)
        self.landed_at.append(datetime.now(UTC))

    async def check(self, **headers: str) -> int:
        """By how many events the answer lags behind; what it says of itself is so."""
        started_at = datetime.now(UTC)
        query = f"customer_id={self.customer_id}&feature_key={SEATS}"
        site = self.it.dice.choice(self.it.sites)
        answer = await site.client.get(f"/v1/entitlements/check?{query}", **headers)
        assert answer.status == 200, answer.content
        as_of = datetime.fromisoformat(answer.json()["as_of"])
        assert as_of > started_at - TTL - GRAIN
        used = int(Decimal(answer.json()["current_usage"]))
        assert sum(at <= as_of for at in self.landed_at) <= used <= len(self.landed_at)
        return len(self.landed_at) - used


@asynccontextmanager
async def used(databases: TestDatabases) -> AsyncIterator[Use]:
    ttl_ms = TTL // timedelta(milliseconds=1)
    async with (
        cache_server("valkey") as server,
        fleet(databases.dsn) as up,
        fire(up, databases, server, seed=SEED, rungs=1, ENTITLEMENT_CACHE_TTL=f"{ttl_ms}ms") as it,
    ):
        history, life = await it.customer()
        life.since = datetime.now(UTC) - timedelta(hours=2 * HOURS)
        await it.change(history, life.subscribe())
        clock = FakeClock(datetime.now(UTC))
        yield Use(it, context_of(databases.live, clock), history.customer_id)
