"""The limit as a caller sees it."""

from tests.support.api import MINUTE_NS, bearer, error_of, serving
from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases


async def test_a_key_is_told_its_limit_and_held_to_it(
    databases: TestDatabases, clock: FakeClock
) -> None:
    async with serving(databases, clock, API_RATE_LIMIT_RPM="2") as api:
        remaining = [
            (await api.client.get("/v1/metrics")).headers["x-ratelimit-remaining"] for _ in "ab"
        ]
        assert remaining == ["1", "0"]
        refused = await api.client.get("/v1/metrics")
        assert error_of(refused)[:2] == (429, "RATE_LIMITED")
        assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"] == "60"
        assert refused.headers["x-ratelimit-limit"] == "2"
        other = bearer(await api.key("read"))
        assert (await api.client.get("/v1/metrics", headers=other)).status_code == 200
        api.monotonic.now_ns += MINUTE_NS
        assert (await api.client.get("/v1/metrics")).status_code == 200


async def test_errors_carry_the_limit_too(databases: TestDatabases, clock: FakeClock) -> None:
    async with serving(databases, clock, API_RATE_LIMIT_RPM="9") as api:
        response = await api.client.post("/v1/metrics", content=b"{")
        assert response.status_code == 400
        assert response.headers["x-ratelimit-remaining"] == "8"


async def test_no_limit_no_headers(databases: TestDatabases, clock: FakeClock) -> None:
    async with serving(databases, clock, API_RATE_LIMIT_RPM="0") as api:
        assert "x-ratelimit-limit" not in (await api.client.get("/v1/metrics")).headers
