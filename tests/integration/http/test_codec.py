"""Bad input through the front door: a clear error with its field, and nothing stored."""

import gzip

import pytest

from tests.support.api import Api, error_of, serving
from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "status", "code", "field"),
    [
        (b"", 400, "MALFORMED_JSON", None),
        (b"{", 400, "MALFORMED_JSON", None),
        (b"\xff\xfe", 400, "MALFORMED_JSON", None),
        (b"[" * 200_000, 400, "MALFORMED_JSON", None),
        (b"[]", 422, "VALIDATION_FAILED", None),
        (b'{"key": "a", "aggregation": "sum", "x": 1}', 422, "UNKNOWN_FIELD", "x"),
        (b'{"key": "a", "\\ud800": 1}', 422, "VALIDATION_FAILED", "\\ud800"),
        (b'{"key": "a", "aggregation": 5}', 422, "VALIDATION_FAILED", "aggregation"),
        (b'{"key": "a\\u0000", "aggregation": "sum"}', 422, "VALIDATION_FAILED", "key"),
        (b'{"key": "\\ud800", "aggregation": "sum"}', 422, "VALIDATION_FAILED", "key"),
        (b'{"key": "a", "key": "b", "aggregation": "sum"}', 422, "VALIDATION_FAILED", "key"),
        (b'{"aggregation": "sum"}', 422, "VALIDATION_FAILED", "key"),
        (
            b'{"key": "a", "aggregation": "percentile", "percentile": NaN}',
            422,
            "VALIDATION_FAILED",
            "percentile",
        ),
        (
            b'{"key": "a", "aggregation": "percentile", "percentile": 0.12345678901}',
            422,
            "VALIDATION_FAILED",
            "percentile",
        ),
    ],
)
async def test_a_bad_body_is_refused_at_its_field(
    api: Api, content: bytes, status: int, code: str, field: str | None
) -> None:
    response = await api.client.post("/v1/metrics", content=content, headers=JSON)
    assert error_of(response) == (status, code, field)
    assert (await api.client.get("/v1/metrics")).json()["data"] == []


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/metrics?limit=0", "limit"),
        ("/v1/metrics?limit=501", "limit"),
        ("/v1/metrics?limit=1&limit=2", "limit"),
        ("/v1/metrics?limti=1", "limti"),
        ("/v1/metrics?cursor=x", "cursor"),
        ("/v1/metrics/a%00b", "key"),
        ("/v1/metrics?limit=%ff", None),
        ("/v1/metrics?" + "a" * 9_000, None),
        ("/healthz?x=1", "x"),
    ],
)
async def test_a_bad_address_is_refused_by_name(api: Api, path: str, field: str | None) -> None:
    response = await api.client.get(path)
    assert error_of(response)[0] == 422
    assert error_of(response)[2] == field


async def test_packed_and_oversized_bodies(databases: TestDatabases, clock: FakeClock) -> None:
    async with serving(databases, clock, API_MAX_BODY_SIZE="1kb") as api:
        body = b'{"key": "calls", "aggregation": "sum"}'
        packed = JSON | {"Content-Encoding": "gzip"}
        right = await api.client.post("/v1/metrics", content=gzip.compress(body), headers=packed)
        assert right.status_code == 201
        bomb = gzip.compress(b" " * 10_000_000)
        inflated = await api.client.post("/v1/metrics", content=bomb[:1000], headers=packed)
        assert error_of(inflated) == (413, "BODY_TOO_LARGE", None)
        large = await api.client.post("/v1/metrics", content=b" " * 1_025, headers=JSON)
        assert error_of(large) == (413, "BODY_TOO_LARGE", None)
        brotli = await api.client.post(
            "/v1/metrics", content=body, headers=JSON | {"Content-Encoding": "br"}
        )
        assert error_of(brotli) == (415, "UNSUPPORTED_MEDIA_TYPE", None)
        form = await api.client.post(
            "/v1/metrics",
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert error_of(form) == (415, "UNSUPPORTED_MEDIA_TYPE", None)


async def test_an_action_needs_no_body(api: Api) -> None:
    await api.client.post("/v1/metrics", json={"key": "calls", "aggregation": "sum"})
    assert (await api.client.post("/v1/metrics/calls/deactivate")).status_code == 200
    refused = await api.client.post("/v1/metrics/calls/activate", json={"force": True})
    assert error_of(refused) == (422, "UNKNOWN_FIELD", "force")
