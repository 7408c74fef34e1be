"""The real application over ASGI on a fresh database, and a small catalogue to start from."""

from collections.abc import AsyncIterator, Mapping

import httpx
import msgspec
import pytest

from abaxus_core.http import (
    customers,
    entitlements,
    events,
    metrics,
    price_plans,
    subscriptions,
)
from abaxus_core.http.app import build
from abaxus_core.services import api_keys
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import SYSTEM, Context, Work, perform
from tests.support.clock import FakeClock
from tests.support.metering import context_of, land_all
from tests.support.postgres import TestDatabases

RESOURCES = (
    *metrics.ENDPOINTS,
    *price_plans.ENDPOINTS,
    *customers.ENDPOINTS,
    *subscriptions.ENDPOINTS,
    *entitlements.ENDPOINTS,
    *events.ENDPOINTS,
)


class Api:
    """A caller with one key. Each call gives status and decoded body."""

    def __init__(self, app: object, context: Context, key: str) -> None:
        self.app = app
        self.context = context
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="http://abaxus",
            headers={"authorization": f"Bearer {key}"},
        )

    async def get(self, path: str, **query: object) -> tuple[int, dict]:
        return self._read(await self._client.get(path, params=query))

    async def post(self, path: str, body: object = None) -> tuple[int, dict]:
        return self._read(await self.post_raw(path, body))

    async def post_raw(self, path: str, body: object = None) -> httpx.Response:
        return await self._client.post(path, content=_bytes(body))

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        return await self._client.request(method, path, content=_bytes(body), headers=headers)

    async def patch(self, path: str, body: object) -> tuple[int, dict]:
        return self._read(await self._client.patch(path, content=_bytes(body)))

    async def made(self, path: str, body: object) -> dict:
        status, answer = await self.post(path, body)
        assert status == 201, answer
        return answer

    async def got(self, path: str, **query: object) -> dict:
        status, answer = await self.get(path, **query)
        assert status == 200, answer
        return answer

    async def refused(self, path: str, body: object) -> tuple[int, str, str | None]:
        """Status, code and field of a POST that must fail."""
        status, answer = await self.post(path, body)
        assert status >= 400, answer
        return status, answer["error"]["code"], answer["error"]["field"]

    async def used(self, *events: dict[str, object]) -> None:
        """Send events and land them."""
        for event in events:
            status, answer = await self.post("/v1/events", event)
            assert status == 202, answer
        await land_all(self.context)

    async def close(self) -> None:
        await self._client.aclose()

    def _read(self, response: httpx.Response) -> tuple[int, dict]:
        return response.status_code, msgspec.json.decode(response.content)


def _bytes(body: object) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else msgspec.json.encode(body)


async def caller(app: object, context: Context, *scopes: str) -> Api:
    """A caller whose new key has these scopes."""

    async def step(work: Work) -> api_keys.Issued:
        return await api_keys.create(
            work,
            mode=context.mode,
            name="test",
            scopes=scopes,
            master_key=context.settings.api_master_key,
        )

    issued = await perform(context, SYSTEM, step)
    return Api(app, context, issued.secret.reveal())


@pytest.fixture
async def api(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Api]:
    """An admin of live mode."""
    live = context_of(databases.live, clock, API_RATE_LIMIT_RPM="0")
    test = context_of(databases.test, clock, API_RATE_LIMIT_RPM="0")
    app = build({"live": live, "test": test}, live.settings, Telemetry(), resources=RESOURCES)
    api = await caller(app, live, "admin")
    yield api
    await api.close()


@pytest.fixture
async def test_mode(api: Api, databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Api]:
    """An admin of test mode, of the same application."""
    context = context_of(databases.test, clock, API_RATE_LIMIT_RPM="0")
    test_mode = await caller(api.app, context, "admin")
    yield test_mode
    await test_mode.close()


@pytest.fixture
async def catalogue(api: Api) -> Api:
    """With metrics `calls` (sum) and `users` (unique_count), plan `growth`, customer `acme`."""
    await api.made("/v1/metrics", {"key": "calls", "aggregation": "sum"})
    await api.made(
        "/v1/metrics", {"key": "users", "aggregation": "unique_count", "property": "user"}
    )
    await api.made("/v1/price-plans", growth())
    await api.made("/v1/customers", {"id": "acme"})
    return api


def growth(**fields: object) -> dict[str, object]:
    """A plan: a base fee and calls, tiered; some of it changed."""
    return {
        "id": "growth",
        "name": "Growth",
        "currency": "USD",
        "billing_period": "monthly",
        "charges": [
            {"pricing_model": "flat_fee", "amount": "49.00"},
            {
                "pricing_model": "tiered",
                "metric_key": "calls",
                "tiers": [
                    {"up_to": 100000, "unit_price": 0},
                    {"up_to": 1000000, "unit_price": "0.00010"},
                    {"up_to": None, "unit_price": "0.00005"},
                ],
            },
        ],
        **fields,
    }
