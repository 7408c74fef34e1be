"""CloudEvents: the same events in another form, whatever else the form may hold."""

import json
import re
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from abaxus_core.http import cloudevents
from tests.support.api import Api, error_of
from tests.support.metering import fetch, land_all, make_catalogue
from tests.support.postgres import TestDatabases

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
NOON = "2026-05-01T12:00:00Z"
ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time", "data")
HOSTILE = (
    "null", "true", "17", "-0.0", "NaN", "-Infinity", "1e400", "1e999999999999999999999", '""',
    '"\\u0000"', '"\\ud800"', '"1.0"', "[]", "{}", "[[]]", '{"value": {}}', '{"value": "1e3"}',
    '{"value": NaN}', '{"value": 1, "value": 2}', '{"value": 1, "a": "\\udfff"}',
    '{"value": 1, "a\\u0000": 1}', '{"value": 1, "a": 1e999}', '{"value": ' + "9" * 5_000 + "}",
    '{"value": 1, "a": ' + "[" * 40 + "]" * 40 + "}", f'"{"k" * 300}"',
)  # fmt: skip


@pytest.fixture(autouse=True)
async def _catalogue(databases: TestDatabases) -> None:
    await make_catalogue(databases.live)


def cloud_event(key: str = "k1", **fields: object) -> dict[str, object]:
    """One with every attribute that is asked for."""
    return {
        "specversion": "1.0",
        "id": key,
        "source": "checkout",
        "type": "total",
        "subject": "acme",
        "time": NOON,
        "data": {"value": "1.5", "region": "eu"},
        **fields,
    }


async def send(api: Api, body: object, media_type: str = cloudevents.EVENT_TYPE) -> httpx.Response:
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    return await api.client.post(
        "/v1/events", content=content, headers={"Content-Type": media_type}
    )


async def send_batch(api: Api, body: object) -> httpx.Response:
    return await send(api, body, cloudevents.BATCH_TYPE)


async def test_a_cloud_event_is_the_event_that_it_describes(api: Api) -> None:
    context = api.contexts["live"]
    answer = await send(
        api,
        cloud_event(time="2026-05-01T14:00:00+02:00", datacontenttype="application/json"),
        "application/CloudEvents+json; charset=utf-8",
    )
    assert answer.status_code == 202
    await land_all(context)
    plain = {
        "customer_id": "acme",
        "metric_key": "total",
        "value": "1.50",
        "timestamp": NOON,
        "idempotency_key": "k1",
        "properties": {"region": "eu"},
    }
    replay = await api.client.post("/v1/events", json=plain)
    assert replay.json() == answer.json() | {"duplicate": True}
    assert await fetch(
        context.database, "SELECT idempotency_key, value, properties::text FROM events"
    ) == [("k1", Decimal("1.5"), '{"region": "eu"}')]
    assert await fetch(context.database, "SELECT 1 FROM event_conflicts") == []


async def test_numbers_are_read_exactly(api: Api) -> None:
    context = api.contexts["live"]
    raw = json.dumps(cloud_event()).replace(
        '"1.5", "region": "eu"', '0.1234567891, "n": 1.10, "m": 123456789012345678901234567890'
    )
    assert (await send(api, raw)).status_code == 202
    await land_all(context)
    assert await fetch(context.database, "SELECT value, properties::text FROM events") == [
        (Decimal("0.1234567891"), '{"m": 123456789012345678901234567890, "n": 1.10}')
    ]


async def test_the_value_may_stand_alone(api: Api) -> None:
    context = api.contexts["live"]
    assert (await send(api, cloud_event(data={"value": 2}))).status_code == 202
    await land_all(context)
    assert await fetch(context.database, "SELECT value, properties FROM events") == [
        (Decimal(2), None)
    ]


async def test_attributes_of_others_are_passed_over_and_null_is_unset(api: Api) -> None:
    answer = await send(
        api,
        cloud_event(
            dataschema="https://schemas.example/parcel",
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            sequence=17,
            datacontenttype=None,
            data_base64=None,
        ),
    )
    assert answer.status_code == 202


async def test_the_id_alone_is_the_key_whatever_the_source(api: Api) -> None:
    answers = [await send(api, cloud_event(source=source)) for source in ("one", "two")]
    assert answers[0].json()["event_id"] == answers[1].json()["event_id"]
    landed = await land_all(api.contexts["live"])
    assert sum(each.stored_count for each in landed) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"specversion": "0.3"}, (422, "VALIDATION_FAILED", "specversion")),
        ({"source": ""}, (422, "VALIDATION_FAILED", "source")),
        ({"id": ""}, (422, "VALIDATION_FAILED", "id")),
        ({"id": "k" * 256}, (422, "VALIDATION_FAILED", "id")),
        ({"subject": "a b"}, (422, "VALIDATION_FAILED", "subject")),
        ({"subject": "nobody"}, (404, "CUSTOMER_NOT_FOUND", "subject")),
        ({"type": "nothing"}, (404, "METRIC_NOT_FOUND", "type")),
        ({"type": "gone"}, (409, "METRIC_INACTIVE", "type")),
        ({"type": "users"}, (422, "VALIDATION_FAILED", "data.user")),
        ({"type": "whole"}, (422, "VALIDATION_FAILED", "data.value")),
        ({"time": "2026-05-01T12:00:00"}, (422, "VALIDATION_FAILED", "time")),
        ({"time": "2026-05-12T12:00:00Z"}, (422, "TIMESTAMP_IN_FUTURE", "time")),
        ({"time": "1776-07-04T12:00:00Z"}, (422, "VALIDATION_FAILED", "time")),
        ({"time": None}, (422, "VALIDATION_FAILED", "time")),
        ({"data": {"region": "eu"}}, (422, "VALIDATION_FAILED", "data.value")),
        ({"data": {"value": "much"}}, (422, "VALIDATION_FAILED", "data.value")),
        ({"data": {"value": "0.12345678901"}}, (422, "VALIDATION_FAILED", "data.value")),
        ({"data": {"value": 1, "a": "x" * 17_000}}, (422, "VALIDATION_FAILED", "data")),
        ({"data": {"value": 1, "a": ["\0"]}}, (422, "VALIDATION_FAILED", "data.a[0]")),
        ({"data": "value"}, (422, "VALIDATION_FAILED", "data")),
        ({"datacontenttype": "text/xml"}, (422, "VALIDATION_FAILED", "datacontenttype")),
        ({"data_base64": "MQ=="}, (422, "VALIDATION_FAILED", "data_base64")),
    ],
)
async def test_a_refusal_names_the_attribute(
    api: Api, fields: dict[str, object], expected: tuple[int, str, str]
) -> None:
    bad = cloud_event("bad", **fields)
    assert error_of(await send(api, bad)) == expected
    answer = await send_batch(api, [cloud_event("good"), bad])
    assert answer.status_code == 207
    good, refused = answer.json()["results"]
    assert good["status"] == "queued"
    assert (refused["error"]["code"], refused["error"]["field"]) == expected[1:]
    assert refused["idempotency_key"] == bad["id"]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
async def test_what_is_missing_is_named(api: Api, attribute: str) -> None:
    lacking = {name: value for name, value in cloud_event().items() if name != attribute}
    assert error_of(await send(api, lacking)) == (422, "VALIDATION_FAILED", attribute)


async def test_a_batch_answers_item_by_item(api: Api) -> None:
    context = api.contexts["live"]
    items = [cloud_event("a"), 17, cloud_event("a"), cloud_event("b", subject="nobody"), None]
    answer = await send_batch(api, items)
    assert answer.status_code == 207
    told = answer.json()
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (1, 1, 3)
    assert [
        (one["index"], one["status"], one["duplicate"], one["idempotency_key"])
        for one in told["results"]
    ] == [
        (0, "queued", False, "a"),
        (1, "rejected", False, None),
        (2, "queued", True, "a"),
        (3, "rejected", False, "b"),
        (4, "rejected", False, None),
    ]
    await land_all(context)
    assert await fetch(context.database, "SELECT idempotency_key FROM events") == [("a",)]


async def test_a_thousand_at_most(api: Api) -> None:
    assert (await send_batch(api, [])).json() == {
        "accepted": 0,
        "duplicates": 0,
        "rejected": 0,
        "results": [],
    }
    full = await send_batch(api, [cloud_event(f"k{n}") for n in range(1000)])
    assert (full.status_code, full.json()["accepted"]) == (207, 1000)
    answer = await send_batch(api, [cloud_event(f"k{n}") for n in range(1001)])
    assert error_of(answer) == (422, "BATCH_TOO_LARGE", None)


@pytest.mark.parametrize("body", ["", "{", "[", "NaN", "17", '"text"', "null", "\xff", "[" * 9_000])
async def test_a_body_that_is_no_event_is_refused(api: Api, body: str) -> None:
    for media_type in (cloudevents.EVENT_TYPE, cloudevents.BATCH_TYPE):
        answer = await send(api, body.encode("latin-1"), media_type)
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["error"]["code"] in ("MALFORMED_JSON", "VALIDATION_FAILED")


async def test_one_is_no_batch_and_a_batch_is_not_one(api: Api) -> None:
    assert error_of(await send_batch(api, cloud_event())) == (422, "VALIDATION_FAILED", None)
    assert error_of(await send(api, [cloud_event()])) == (422, "VALIDATION_FAILED", None)


@pytest.mark.parametrize("name", [*ATTRIBUTES, "datacontenttype", "data_base64", "ext", "\\ud800"])
async def test_nothing_that_can_be_sent_is_a_fault_of_ours(api: Api, name: str) -> None:
    rest = {attribute: each for attribute, each in cloud_event().items() if attribute != name}
    for hostile in HOSTILE:
        for fragment in (f'"{name}": {hostile}', f'"{name}": {hostile}, "{name}": {hostile}'):
            raw = "{" + fragment + ", " + json.dumps(rest)[1:]
            one = await send(api, raw)
            assert one.status_code in (202, 400, 404, 422), (raw, one.text)
            many = await send_batch(api, f"[{raw}]")
            assert many.status_code in (207, 400), (raw, many.text)
    assert all(each.quarantined_count == 0 for each in await land_all(api.contexts["live"]))


async def test_the_description_has_both_forms(api: Api) -> None:
    described = (await api.client.get("/openapi.json")).json()
    sent = described["paths"]["/v1/events"]["post"]
    content = sent["requestBody"]["content"]
    assert list(content) == ["application/json", cloudevents.EVENT_TYPE, cloudevents.BATCH_TYPE]
    one = {"$ref": "#/components/schemas/CloudEvent"}
    assert content[cloudevents.EVENT_TYPE]["schema"] == one
    assert content[cloudevents.BATCH_TYPE]["schema"] == {
        "type": "array",
        "items": one,
        "maxItems": 1000,
    }
    assert {"202", "207"} <= set(sent["responses"])


async def test_the_documented_example_is_taken(api: Api, databases: TestDatabases) -> None:
    await fetch(
        databases.live, "UPDATE metrics SET metric_key = 'api_calls' WHERE metric_key = 'total'"
    )
    (example,) = re.findall(r"```json\n(\{[^`]*specversion[^`]*\})\n```", DOCS.read_text())
    answer = await send(api, example)
    assert answer.status_code == 202, answer.text
    await land_all(api.contexts["live"])
    assert await fetch(databases.live, "SELECT value, properties::text FROM events") == [
        (Decimal(10), '{"path": "/v1/search", "method": "GET"}')
    ]
