"""Usage in a check may be as old as the cache lets it be, says how old it is, and is never newer
or older than it says.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tests.support.cache_servers import cache_server
from tests.support.clock import FakeClock
from tests.support.fleet import fleet
from tests.support.grant_fire import METRIC, Fire, fire
from tests.support.granted_lives import SEATS
from tests.support.metering import context_of, event, land_all, offer

SEED: Final = 20_261_127
TTL: Final = timedelta(milliseconds=400)
# Redis reckons expiry in whole milliseconds, by a clock that it reads once a round.
GRAIN: Final = timedelta(milliseconds=5)
EVENTS: Final = 60


async def test_usage_is_that_of_as_of_which_is_no_older_than_the_time_to_live(databases) -> None:
    context = context_of(databases.live, FakeClock(datetime.now(UTC)))
    ttl_ms = TTL // timedelta(milliseconds=1)
    async with (
        cache_server("valkey") as server,
        fleet(databases.dsn) as up,
        fire(up, databases, server, seed=SEED, rungs=1, ENTITLEMENT_CACHE_TTL=f"{ttl_ms}ms") as it,
    ):
        history, life = await it.customer()
        life.since = datetime.now(UTC) - timedelta(days=2)
        await it.change(history, life.subscribe())
        landed_at: list[datetime] = []
        lagged = 0
        for number in range(EVENTS):
            await _check(it, landed_at)
            sent = event(
                f"event-{number}",
                customer_id=history.customer_id,
                metric_key=METRIC,
                timestamp=datetime.now(UTC) - timedelta(hours=number % 24),
            )
            await offer(context, sent)
            await land_all(context)
            landed_at.append(datetime.now(UTC))
            lagged += await _check(it, landed_at)
        assert lagged > 0, "nothing was cached"
        await asyncio.sleep((TTL + GRAIN).total_seconds())
        assert await _check(it, landed_at) == 0


async def test_who_asks_for_no_cache_is_told_what_has_landed(databases) -> None: ...


async def _check(it: Fire, landed_at: list[datetime], **headers: str) -> int:
    """By how many events the answer lags behind; what it says of itself is so."""
    started_at = datetime.now(UTC)
    answer = await _asked(it, **headers)
    as_of = datetime.fromisoformat(answer["as_of"])
    used = int(Decimal(answer["current_usage"]))
    assert as_of > started_at - TTL - GRAIN
    by_then = sum(at <= as_of for at in landed_at)
    assert by_then <= used <= len(landed_at)
    return len(landed_at) - used


async def _asked(it: Fire, **headers: str) -> dict[str, Any]:
    query = f"?customer_id={it.histories[0].customer_id}&feature_key={SEATS}"
    site = it.dice.choice(it.sites)
    answer = await site.client.get(f"/v1/entitlements/check{query}", **headers)
    assert answer.status == 200, answer.content
    return answer.json()
