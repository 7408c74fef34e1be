"""The event and usage routes as callers see them: shapes, statuses, bad input item by item."""

import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from abaxus_core.http import events, usage
from abaxus_core.http.app import build
from abaxus_core.services import api_keys
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import SYSTEM, Context, perform
from tests.support.api import bearer
from tests.support.clock import FakeClock
from tests.support.metering import context_of, fetch, land_all, make_catalogue
from tests.support.postgres import TestDatabases
from tests.support.servers import client_of

NOON = "2026-05-01T12:00:00Z"


@pytest.fixture
async def api(
    databases: TestDatabases, context: Context, clock: FakeClock
) -> AsyncIterator[httpx.AsyncClient]:
    await make_catalogue(databases.test)
    contexts = {"live": context, "test": context_of(databases.test, clock)}
    application = build(
        contexts,
        context.settings,
        Telemetry(),
        resources=(*events.ENDPOINTS, *usage.ENDPOINTS),
    )
    async with client_of(application, bearer(await key_for(context, "admin"))) as client:
        yield client


async def key_for(context: Context, scope: str) -> str:
    master_key = context.settings.api_master_key
    issued = await perform(
        context,
        SYSTEM,
        lambda work: api_keys.create(
            work, mode=context.mode, name=scope, scopes=(scope,), master_key=master_key
        ),
    )
    return issued.secret.reveal()


def body(key: str = "k1", **fields: object) -> dict[str, object]:
    given = {
        "customer_id": "acme",
        "metric_key": "total",
        "value": "1.5",
        "timestamp": NOON,
        "idempotency_key": key,
    }
    return given | fields


async def test_one_event(api: httpx.AsyncClient, context: Context) -> None:
    answers = [await api.post("/v1/events", json=body())]
    await land_all(context)
    answers.append(await api.post("/v1/events", json=body()))
    assert [answer.status_code for answer in answers] == [202, 202]
    first, replay = (answer.json() for answer in answers)
    assert first.pop("event_id").startswith("evt_")
    assert first == {"status": "queued", "idempotency_key": "k1", "duplicate": False}
    assert (replay["duplicate"], replay["event_id"]) == (True, answers[0].json()["event_id"])


async def test_a_batch_answers_item_by_item(api: httpx.AsyncClient) -> None:
    items = [
        body("a"),
        body("b", customer_id="nobody"),
        17,
        body("a"),
        body("c", value="1.12345678901"),
        {key: value for key, value in body("d").items() if key != "timestamp"},
        body("e", surprise=1),
        body("f"),
    ]
    answer = await api.post("/v1/events/batch", json={"events": items})
    assert answer.status_code == 207
    told = answer.json()
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (2, 1, 5)
    assert [one["index"] for one in told["results"]] == list(range(8))
    assert [
        (one["status"], one["duplicate"], (one["error"] or {}).get("code"), one["idempotency_key"])
        for one in told["results"]
    ] == [
        ("queued", False, None, "a"),
        ("rejected", False, "CUSTOMER_NOT_FOUND", "b"),
        ("rejected", False, "VALIDATION_FAILED", None),
        ("queued", True, None, "a"),
        ("rejected", False, "VALIDATION_FAILED", "c"),
        ("rejected", False, "VALIDATION_FAILED", "d"),
        ("rejected", False, "UNKNOWN_FIELD", "e"),
        ("queued", False, None, "f"),
    ]
    assert [(one["error"] or {}).get("field") for one in told["results"]] == [
        None,
        "customer_id",
        None,
        None,
        "value",
        "timestamp",
        "surprise",
        None,
    ]
    assert told["results"][0]["event_id"] == told["results"][3]["event_id"]


@pytest.mark.parametrize(
    ("fragment", "code", "field"),
    [
        ('"value": NaN', "VALIDATION_FAILED", "value"),
        ('"value": Infinity', "VALIDATION_FAILED", "value"),
        ('"value": "NaN"', "VALIDATION_FAILED", "value"),
        ('"value": true', "VALIDATION_FAILED", "value"),
        ('"value": 1e400', "VALIDATION_FAILED", "value"),
        ('"value": 1, "value": 2', "VALIDATION_FAILED", "value"),
        ('"value": 1, "timestamp": "2026-05-01T12:00:00"', "VALIDATION_FAILED", "timestamp"),
        ('"value": 1, "timestamp": "\\ud800"', "VALIDATION_FAILED", "timestamp"),
        ('"value": 1, "timestamp": "2026-05-12T12:00:00Z"', "TIMESTAMP_IN_FUTURE", "timestamp"),
        ('"value": 1, "timestamp": "0001-01-01T00:00:00+14:00"', "VALIDATION_FAILED", "timestamp"),
        ('"value": 1, "idempotency_key": ""', "VALIDATION_FAILED", "idempotency_key"),
        ('"value": 1, "idempotency_key": "a\\u0000"', "VALIDATION_FAILED", "idempotency_key"),
        ('"value": 1, "idempotency_key": "\\ud800"', "VALIDATION_FAILED", "idempotency_key"),
        (f'"value": 1, "idempotency_key": "{"k" * 256}"', "VALIDATION_FAILED", "idempotency_key"),
        ('"value": 1, "metric_key": "gone"', "METRIC_INACTIVE", "metric_key"),
        ('"value": 1, "metric_key": "whole\\u0000"', "VALIDATION_FAILED", "metric_key"),
        ('"value": 1, "properties": []', "VALIDATION_FAILED", "properties"),
        ('"value": 1, "properties": {"a\\u0000": 1}', "VALIDATION_FAILED", None),
        ('"value": 1, "properties": {"a": "\\udfff"}', "VALIDATION_FAILED", "properties.a"),
        ('"value": 1, "properties": {"\\ud800": 1}', "VALIDATION_FAILED", None),
        ('"value": 1, "properties": {"a": 1e999}', "VALIDATION_FAILED", "properties.a"),
        ('"value": 1, "properties": {"a": NaN}', "VALIDATION_FAILED", "properties.a"),
        ('"value": 1, "properties": {"a": 1, "a": 2}', "VALIDATION_FAILED", "properties.a"),
        (f'"value": 1, "properties": {"[" * 40}{"]" * 40}', "VALIDATION_FAILED", None),
    ],
)
async def test_a_bad_event_is_named_by_its_field_and_spoils_no_other(
    api: httpx.AsyncClient, context: Context, fragment: str, code: str, field: str | None
) -> None:
    named = {piece.split('"')[1] for piece in fragment.split(", ") if piece.startswith('"')}
    rest = {key: value for key, value in body("bad").items() if key not in named}
    bad = "{" + fragment + ", " + json.dumps(rest)[1:]
    answer = await api.post("/v1/events", content=bad, headers={"Content-Type": "application/json"})
    assert answer.status_code in (409, 422)
    assert answer.json()["error"]["code"] == code
    assert field is None or answer.json()["error"]["field"] == field
    answer = await api.post(
        "/v1/events/batch",
        content=f'{{"events": [{json.dumps(body("good"))}, {bad}]}}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 207
    assert [one["status"] for one in answer.json()["results"]] == ["queued", "rejected"]
    await land_all(context)
    assert await fetch(context.database, "SELECT idempotency_key FROM events") == [("good",)]


async def test_huge_numbers_in_properties_are_kept_exactly(
    api: httpx.AsyncClient, context: Context
) -> None:
    raw = json.dumps(body()).replace("}", ', "properties": {"n": 123456789012345678901234567890}}')
    answer = await api.post("/v1/events", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    await land_all(context)
    listed = await api.get("/v1/events", params={"customer_id": "acme"})
    assert '"n":123456789012345678901234567890' in listed.text.replace(" ", "")


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_is_bounded(api: httpx.AsyncClient, count: int) -> None:
    answer = await api.post("/v1/events/batch", json={"events": [1] * count})
    assert answer.status_code == 422
    code = "BATCH_TOO_LARGE" if count else "VALIDATION_FAILED"
    assert (answer.json()["error"]["code"], answer.json()["error"]["field"]) == (code, "events")


async def test_a_thousand_events_gzipped(api: httpx.AsyncClient, context: Context) -> None:
    packed = gzip.compress(json.dumps({"events": [body(f"k{n}") for n in range(1000)]}).encode())
    answer = await api.post(
        "/v1/events/batch",
        content=packed,
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )
    assert (answer.status_code, answer.json()["accepted"]) == (207, 1000)
    await land_all(context)
    assert await fetch(context.database, "SELECT sum(value) FROM events") == [(1500,)]


async def test_malformed_json_loses_nothing_but_itself(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/v1/events", content=b'{"value": ', headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MALFORMED_JSON")


async def test_a_full_backlog_says_when_to_come_back(
    databases: TestDatabases, api: httpx.AsyncClient, clock: FakeClock
) -> None:
    full = context_of(databases.live, clock, INGEST_BACKLOG_MAX="1")
    application = build(
        {"live": full, "test": full}, full.settings, Telemetry(), resources=events.ENDPOINTS
    )
    async with client_of(application, api.headers) as client:
        assert (await client.post("/v1/events", json=body("a"))).status_code == 202
        refused = await client.post("/v1/events", json=body("b"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "BACKLOG_FULL")
    assert int(refused.headers["Retry-After"]) > 0


async def test_events_are_listed_in_pages(api: httpx.AsyncClient, context: Context) -> None:
    items = [body(f"k{n}", timestamp=f"2026-05-01T{n:02}:00:00Z") for n in range(5)]
    await api.post("/v1/events/batch", json={"events": items})
    await land_all(context)
    seen: list[str] = []
    query = {"customer_id": "acme", "limit": "2"}
    for _ in range(3):
        page = (await api.get("/v1/events", params=query)).json()
        seen += [row["idempotency_key"] for row in page["data"]]
        query["cursor"] = page["next_cursor"]
    assert seen == ["k4", "k3", "k2", "k1", "k0"]
    assert page["next_cursor"] is None
    event_id = page["data"][0].pop("event_id")
    assert event_id == (await api.post("/v1/events", json=items[0])).json()["event_id"]
    assert page["data"][0] == {
        "customer_id": "acme",
        "metric_key": "total",
        "value": "1.5",
        "timestamp": "2026-05-01T00:00:00Z",
        "idempotency_key": "k0",
        "properties": None,
        "subscription_id": None,
        "received_at": "2026-05-10T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({}, 422, "customer_id"),
        ({"customer_id": "nobody"}, 404, "customer_id"),
        ({"customer_id": "acme", "metric_key": "nothing"}, 404, "metric_key"),
        ({"customer_id": "acme", "from": "2026-05-01T00:00:00"}, 422, "from"),
        ({"customer_id": "acme", "from": "2026-05-02", "to": "2026-05-01"}, 422, "to"),
        ({"customer_id": "acme", "cursor": "nonsense"}, 422, "cursor"),
        ({"customer_id": "acme", "limit": "501"}, 422, "limit"),
    ],
)
async def test_a_bad_list_query_is_named(
    api: httpx.AsyncClient, query: dict[str, str], status: int, field: str
) -> None:
    answer = await api.get("/v1/events", params=query)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)


async def test_summary_and_compute_agree(api: httpx.AsyncClient, context: Context) -> None:
    await api.post("/v1/events/batch", json={"events": [body(f"k{n}") for n in range(4)]})
    await land_all(context)
    summary = (await api.get("/v1/usage/summary", params={"customer_id": "acme"})).json()
    assert summary == {
        "customer_id": "acme",
        "period_start": "2026-05-01T00:00:00Z",
        "period_end": "2026-06-01T00:00:00Z",
        "usage": [
            {"metric_key": "total", "aggregation": "sum", "value": "6", "event_count": 4},
        ],
        "meta": {
            "consistency": "eventual",
            "lag_seconds": 0,
            "queued_events": 0,
            "queued_at_least": False,
            "quarantined_events": 0,
        },
    }
    asked = {
        "customer_id": "acme",
        "metric_key": "total",
        "period_start": "2026-05-01",
        "period_end": "2026-05-02",
    }
    computed = (await api.post("/v1/usage/compute", json=asked)).json()
    watermark = computed["meta"].pop("watermark")
    assert watermark > 0
    assert computed == {
        "customer_id": "acme",
        "metric_key": "total",
        "aggregation": "sum",
        "period_start": "2026-05-01T00:00:00Z",
        "period_end": "2026-05-02T00:00:00Z",
        "value": "6",
        "event_count": 4,
        "meta": {"consistency": "exact", "late_event_count": 4},
    }


async def test_summary_in_buckets(api: httpx.AsyncClient, context: Context) -> None:
    await api.post("/v1/events", json=body())
    await land_all(context)
    query = {
        "customer_id": "acme",
        "metric_key": "total",
        "period_start": "2026-05-01T11:00:00Z",
        "period_end": "2026-05-01T13:00:00Z",
        "granularity": "hour",
    }
    (total,) = (await api.get("/v1/usage/summary", params=query)).json()["usage"]
    assert total["buckets"] == [
        {"start": "2026-05-01T11:00:00Z", "value": "0", "event_count": 0},
        {"start": "2026-05-01T12:00:00Z", "value": "1.5", "event_count": 1},
    ]


async def test_summary_in_groups(api: httpx.AsyncClient, context: Context) -> None:
    items = [body("a", properties={"region": "eu"}), body("b", properties={"region": "eu"})]
    await api.post("/v1/events/batch", json={"events": [*items, body("c")]})
    await land_all(context)
    query = {"customer_id": "acme", "metric_key": "total", "group_by": "region"}
    (total,) = (await api.get("/v1/usage/summary", params=query)).json()["usage"]
    assert total == {
        "metric_key": "total",
        "aggregation": "sum",
        "value": "4.5",
        "event_count": 3,
        "groups": [
            {"group": "eu", "value": "3", "event_count": 2},
            {"group": None, "value": "1.5", "event_count": 1},
        ],
        "groups_cut_off": False,
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"group_by": "region"}, "metric_key"),
        ({"group_by": "", "metric_key": "total"}, "group_by"),
        ({"group_by": "region", "metric_key": "total", "granularity": "hour"}, "granularity"),
        ({"group_by": "\0", "metric_key": "total"}, "group_by"),
        ({"granularity": "month"}, "granularity"),
    ],
)
async def test_a_bad_summary_query_is_named(
    api: httpx.AsyncClient, query: dict[str, str], field: str
) -> None:
    answer = await api.get("/v1/usage/summary", params={"customer_id": "acme", **query})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"customer_id": "nobody"}, 404, "customer_id"),
        ({"metric_key": "nothing"}, 404, "metric_key"),
        ({"period_end": "2026-05-01"}, 422, "period_end"),
        ({"period_end": "9999-12-31T23:59:59-12:00"}, 422, "period_end"),
        ({"period_start": "2026-05-01T00:00"}, 422, "period_start"),
    ],
)
async def test_a_bad_compute_is_named(
    api: httpx.AsyncClient, fields: dict[str, str], status: int, field: str
) -> None:
    asked = {
        "customer_id": "acme",
        "metric_key": "total",
        "period_start": "2026-05-01",
        "period_end": "2026-06-01",
        **fields,
    }
    answer = await api.post("/v1/usage/compute", json=asked)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)


async def test_a_key_for_events_sends_and_does_not_read(
    api: httpx.AsyncClient, context: Context
) -> None:
    headers = {"Authorization": f"Bearer {await key_for(context, 'ingest')}"}
    sent = await api.post("/v1/events", json=body(), headers=headers)
    read = await api.get("/v1/events", params={"customer_id": "acme"}, headers=headers)
    assert (sent.status_code, read.status_code) == (202, 403)


async def test_test_mode_sees_its_own_events_alone(
    api: httpx.AsyncClient, databases: TestDatabases, context: Context, clock: FakeClock
) -> None:
    test_context = context_of(databases.test, clock)
    headers = {"Authorization": f"Bearer {await key_for(test_context, 'admin')}"}
    await api.post("/v1/events", json=body("live"))
    await api.post("/v1/events", json=body("test"), headers=headers)
    await land_all(context)
    await land_all(test_context)
    listed = await api.get("/v1/events", params={"customer_id": "acme"}, headers=headers)
    assert [row["idempotency_key"] for row in listed.json()["data"]] == ["test"]
