"""Whatever goes wrong, the caller gets the one documented form and nobody's secrets."""

import asyncio

import httpx
import pytest

from abaxus_core.errors import InvariantBroken, RateLimited
from abaxus_core.http import edge, patience, request_log
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import Call, Endpoint
from tests.support.api import Api, error_of, serving
from tests.support.clock import FakeClock
from tests.support.logs import logged_by
from tests.support.postgres import TestDatabases


async def test_unknown_paths_and_methods_have_the_form_too(api: Api) -> None:
    missing = await api.client.get("/v1/nothing")
    assert error_of(missing) == (404, "NOT_FOUND", None)
    method = await api.client.put("/v1/metrics")
    assert error_of(method) == (405, "METHOD_NOT_ALLOWED", None)
    assert method.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    options = await api.client.options("/v1/metrics")
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_head_says_what_get_would(api: Api) -> None:
    got = await api.client.get("/v1/metrics")
    head = await api.client.head("/v1/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_every_answer_is_named_and_guarded(api: Api) -> None:
    for path in ("/v1/metrics", "/v1/nothing", "/healthz"):
        response = await api.client.get(path, headers={"X-Request-Id": "caller-1"})
        assert response.headers["x-request-id"] == "caller-1"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-type"] == "application/json"
        if response.status_code != 200:
            assert response.json()["request_id"] == "caller-1"
    odd = await api.client.get("/v1/metrics", headers={"X-Request-Id": "a b\t{}"})
    assert odd.headers["x-request-id"].startswith("req_")


async def faulty(databases: TestDatabases, clock: FakeClock, error: Exception) -> httpx.Response:
    async def handler(_call: Call[None, None]) -> Answer:
        raise error

    endpoint = Endpoint(
        method="GET", path="/v1/faulty", handler=handler, scope="read", summary="", tag="t"
    )
    async with serving(databases, clock, resources=(endpoint,)) as api:
        return await api.client.get("/v1/faulty")


@pytest.mark.parametrize("error", [InvariantBroken("lines do not sum"), KeyError("hunter2")])
async def test_a_bug_is_loud_inside_and_quiet_outside(
    databases: TestDatabases, clock: FakeClock, error: Exception
) -> None:
    with logged_by(edge) as lines:
        response = await faulty(databases, clock, error)
    assert error_of(response) == (500, "INTERNAL", None)
    assert str(error) not in response.text
    (failed,) = [line for line in lines if line["event"] == "request.failed"]
    assert failed["exc_info"] is error


@pytest.mark.parametrize("error", [ConnectionRefusedError("x"), TimeoutError(), OSError("y")])
async def test_an_unreachable_database_is_not_ready(
    databases: TestDatabases, clock: FakeClock, error: Exception
) -> None:
    response = await faulty(databases, clock, error)
    assert error_of(response) == (503, "NOT_READY", None)
    assert response.headers["retry-after"] == "1"


async def test_what_takes_too_long_is_ended_and_answered(
    databases: TestDatabases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "REQUEST_TIMEOUT_S", 0)
    monkeypatch.setattr(patience, "LOOK_EVERY_S", 0)

    async def handler(_call: Call[None, None]) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    endpoint = Endpoint(
        method="GET", path="/v1/slow", handler=handler, scope=None, summary="", tag="t"
    )
    async with serving(databases, clock, resources=(endpoint,)) as api:
        assert error_of(await api.client.get("/v1/slow")) == (503, "NOT_READY", None)


async def test_a_backlog_says_when_to_come_back(databases: TestDatabases, clock: FakeClock) -> None:
    error = RateLimited("the queue is too long", retry_after_s=7, code="BACKLOG_FULL")
    response = await faulty(databases, clock, error)
    assert error_of(response)[:2] == (429, "BACKLOG_FULL")
    assert response.headers["retry-after"] == "7"


async def test_a_log_line_has_ids_and_no_bodies(databases: TestDatabases, clock: FakeClock) -> None:
    async with serving(databases, clock, LOG_FORMAT="text") as api:
        with logged_by(request_log) as lines:
            await api.client.post("/v1/metrics", json={"key": "calls", "aggregation": "swordfish"})
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["status"] == 422
    assert line["code"] == "VALIDATION_FAILED"
    assert line["key_id"].startswith("key_")
    assert "swordfish" not in str(lines)


async def test_health_asks_the_database_and_its_schema(api: Api) -> None:
    anonymous = {"Authorization": ""}
    healthy = await api.client.get("/healthz", headers=anonymous)
    assert (healthy.status_code, healthy.json()) == (200, {"status": "ok"})
    async with api.contexts["live"].database.connection() as conn:
        await conn.execute("DELETE FROM abaxus.migrations WHERE number = 7")
    assert error_of(await api.client.get("/healthz", headers=anonymous))[:2] == (503, "NOT_READY")


async def test_metrics_count_what_was_answered(api: Api) -> None:
    await api.client.get("/v1/metrics")
    await api.client.get("/v1/nothing")
    await api.client.request("SWORDFISH", "/v1/metrics")
    text = (await api.client.get("/metrics", headers={"Authorization": ""})).text
    assert "SWORDFISH" not in text
    assert (
        'abaxus_http_request_seconds_count{method="GET",route="/v1/metrics",status="200"} 1.0'
        in text
    )
    assert 'abaxus_errors_total{code="NOT_FOUND"} 1.0' in text
    assert 'route="none",status="404"' in text


async def test_cors_is_for_the_origins_named(databases: TestDatabases, clock: FakeClock) -> None:
    async with serving(databases, clock, CORS_ALLOWED_ORIGINS="https://app.example.com") as api:
        origin = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
        allowed = await api.client.options("/v1/metrics", headers=origin)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
        stranger = origin | {"Origin": "https://evil.example"}
        refused = await api.client.options("/v1/metrics", headers=stranger)
        assert "access-control-allow-origin" not in refused.headers
    async with serving(databases, clock) as api:
        response = await api.client.get("/v1/metrics", headers=origin)
        assert "access-control-allow-origin" not in response.headers


async def test_an_unreachable_pool_is_not_ready_either(api: Api) -> None:
    async with api.contexts["live"].database.connection() as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    responses = await asyncio.gather(*(api.client.get("/v1/metrics") for _ in range(8)))
    for response in responses:
        assert response.status_code in (200, 503), response.text
    assert (await api.client.get("/v1/metrics")).status_code == 200
