"""Checks through two API processes as they are composed, with one Redis between them.

They ask it each time, as for a customer of whom they have kept nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from abaxus_core import app
from abaxus_core.app import App
from abaxus_core.http.app import build
from abaxus_core.services.entitlements.kept_snapshots import KeptSnapshots
from tests.support.api import bearer, new_key
from tests.support.cache_servers import KINDS, CacheServer, cache_server
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

FEE = [{"pricing_model": "flat_fee", "amount": 1}]
SSO = {"feature_key": "sso", "type": "boolean", "value": True}
CHECK = {"customer_id": "acme", "feature_key": "sso"}


@dataclass
class Served:
    app: App
    client: httpx.AsyncClient

    async def granted(self, **headers: str) -> bool:
        answer = await self.client.get("/v1/entitlements/check", params=CHECK, headers=headers)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["granted"])

    async def made(self, path: str, body: dict[str, object], **headers: str) -> httpx.Response:
        answer = await self.client.post(path, json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer

    async def metric(self, line: str) -> int:
        text = (await self.client.get("/metrics")).text
        values = [row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(line)]
        return int(values[0].removesuffix(".0")) if values else 0

    async def serves_hits(self) -> bool:
        """A link to a local Redis may lose patience on a slow machine; not for long."""
        before = await self.hits()
        await self.granted()
        return await self.hits() > before

    async def hits(self) -> int:
        return await self.metric('abaxus_entitlement_cache_reads_total{mode="live",outcome="hit"}')

    async def confirms(self) -> bool:
        return await self.metric('abaxus_redis_up{link="changes"}') == 1


@asynccontextmanager
async def served(dsn: str, url: str, **settings: str) -> AsyncIterator[Served]:
    environ = {
        "DATABASE_URL": dsn,
        "DATABASE_SSL_MODE": "disable",
        "API_MASTER_KEY": "k" * 32,
        "API_RATE_LIMIT_RPM": "0",
        "REDIS_URL": url,
        **settings,
    }
    async with app.opened(environ, process="api") as opened:
        asgi = build(opened.contexts, opened.settings, opened.telemetry)
        headers = bearer(await new_key(opened.contexts["live"], "admin"))
        transport = httpx.ASGITransport(asgi)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", headers=headers
        ) as client:
            yield Served(opened, client)


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptSnapshots, "has", lambda *_: False)


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[CacheServer]:
    async with cache_server(request.param) as server:
        yield server


@pytest.fixture
async def pair(databases: TestDatabases, server: CacheServer) -> AsyncIterator[list[Served]]:
    """Two processes that know customer acme, and a plan that would grant it a feature."""
    async with AsyncExitStack() as stack:
        pair = [
            await stack.enter_async_context(
                served(databases.dsn, server.url, ENTITLEMENT_CACHE_TTL="60s")
            )
            for _ in range(2)
        ]
        await prepare(pair[0])
        yield pair


async def prepare(one: Served) -> None:
    plan = {"id": "a", "name": "A", "currency": "usd", "billing_period": "monthly"}
    await one.made("/v1/price-plans", {**plan, "charges": FEE, "entitlements": [SSO]})
    await one.made("/v1/customers", {"id": "acme"})


SUBSCRIPTION = {"customer_id": "acme", "plan_id": "a", "start_date": "2026-01-01"}


async def test_a_check_after_the_answer_to_a_change_gives_the_new_grant(
    pair: list[Served],
) -> None:
    here, there = pair
    await eventually(there.serves_hits)
    assert not await there.granted()
    subscription = (await here.made("/v1/subscriptions", SUBSCRIPTION)).json()
    assert await there.granted()
    await eventually(there.serves_hits)
    await there.made(
        f"/v1/subscriptions/{subscription['id']}/amendments",
        {"type": "cancel", "effective": "immediate"},
    )
    assert not await here.granted()


async def test_who_will_have_no_cache_reads_the_database(pair: list[Served]) -> None:
    here, _ = pair
    await eventually(here.serves_hits)
    before = await here.hits()
    assert not await here.granted(**{"Cache-Control": "no-cache"})
    assert await here.hits() == before


async def test_a_repeated_request_tells_the_cache_again(
    pair: list[Served], server: CacheServer
) -> None:
    """The first one is cut short after its commit, as a process that dies there does."""
    here, there = pair
    await eventually(there.serves_hits)
    server.pause()
    first = asyncio.create_task(
        here.made("/v1/subscriptions", SUBSCRIPTION, **{"Idempotency-Key": "k"})
    )

    async def is_committed() -> bool:
        return await here.granted(**{"Cache-Control": "no-cache"})

    await eventually(is_committed)
    first.cancel()
    await asyncio.wait([first])
    server.resume()
    await eventually(here.confirms)
    again = await here.made("/v1/subscriptions", SUBSCRIPTION, **{"Idempotency-Key": "k"})
    assert again.headers["idempotent-replay"] == "true"
    assert await there.granted()


async def test_without_redis_nothing_but_its_own_metrics_tells(
    databases: TestDatabases, server: CacheServer
) -> None:
    await server.kill()
    async with served(databases.dsn, server.url, ENTITLEMENT_CACHE_TTL="100ms") as alone:
        await prepare(alone)
        assert (await alone.client.get("/healthz")).status_code == 200
        assert not await alone.granted()
        await alone.made("/v1/subscriptions", SUBSCRIPTION)
        assert await alone.granted()
        assert await alone.metric('abaxus_redis_up{link="reads"}') == 0
        waited = 'abaxus_entitlement_cache_invalidations_total{mode="live",outcome="waited_out"}'
        assert await alone.metric(waited) == 1
        away = 'abaxus_entitlement_cache_reads_total{mode="live",outcome="away"}'
        assert await alone.metric(away) == 2


async def test_live_and_test_mode_do_not_meet(pair: list[Served]) -> None:
    here, there = pair
    await eventually(here.serves_hits)
    key = await new_key(there.app.contexts["test"], "admin")
    answer = await there.client.get("/v1/entitlements/check", params=CHECK, headers=bearer(key))
    assert answer.status_code == 404
