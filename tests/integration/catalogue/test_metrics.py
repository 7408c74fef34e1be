"""Metrics: what never changes, what may, and that repeating changes nothing."""

from tests.integration.catalogue.conftest import Api
from tests.support.metering import fetch


async def test_a_metric_is_answered_in_full(api: Api) -> None:
    made = await api.made(
        "/v1/metrics",
        {"key": "latency", "aggregation": "percentile", "percentile": 99.90, "name": "Latency"},
    )
    assert made.pop("id").startswith("met_")
    assert made == {
        "key": "latency",
        "name": "Latency",
        "description": None,
        "aggregation": "percentile",
        "property": None,
        "percentile": "99.9",
        "value_type": "decimal",
        "status": "active",
        "created_at": "2026-05-10T12:00:00Z",
    }
    assert (await api.got("/v1/metrics/latency"))["percentile"] == "99.9"


async def test_the_name_defaults_to_the_key(api: Api) -> None:
    assert (await api.made("/v1/metrics", {"key": "calls", "aggregation": "sum"}))[
        "name"
    ] == "calls"


async def test_the_older_dialect_is_read(api: Api) -> None:
    made = await api.made(
        "/v1/metrics", {"key": "calls", "display_name": "Calls", "aggregation_type": "count"}
    )
    assert (made["name"], made["aggregation"]) == ("Calls", "count")
    both = {"key": "two", "name": "a", "display_name": "a", "aggregation": "sum"}
    assert (await api.made("/v1/metrics", both))["name"] == "a"
    differing = {**both, "key": "three", "display_name": "b"}
    assert await api.refused("/v1/metrics", differing) == (422, "VALIDATION_FAILED", "name")


async def test_a_key_is_taken_once(api: Api) -> None:
    body = {"key": "calls", "aggregation": "sum"}
    await api.made("/v1/metrics", body)
    assert await api.refused("/v1/metrics", body) == (409, "METRIC_KEY_DUPLICATE", "key")


async def test_only_name_and_description_change(api: Api) -> None:
    await api.made("/v1/metrics", {"key": "calls", "aggregation": "sum", "description": "old"})
    status, changed = await api.patch("/v1/metrics/calls", {"name": "Calls", "description": None})
    assert (status, changed["name"], changed["description"]) == (200, "Calls", None)
    assert (await api.got("/v1/metrics/calls"))["name"] == "Calls"
    for field, value in {"aggregation": "max", "key": "other", "value_type": "integer"}.items():
        status, answer = await api.patch("/v1/metrics/calls", {field: value})
        assert (status, answer["error"]["code"]) == (422, "UNKNOWN_FIELD")
        assert answer["error"]["field"] == field
    status, answer = await api.patch("/v1/metrics/calls", {"name": None})
    assert (status, answer["error"]["field"]) == (422, "name")


async def test_switching_off_and_on_may_be_repeated(api: Api) -> None:
    await api.made("/v1/metrics", {"key": "calls", "aggregation": "sum"})
    for verb, status in (("deactivate", "inactive"), ("activate", "active")):
        for _ in range(2):
            code, answer = await api.post(f"/v1/metrics/calls/{verb}")
            assert (code, answer["status"]) == (200, status)
    actions = await fetch(api.context.database, "SELECT action FROM audit_log ORDER BY audit_no")
    assert [action for (action,) in actions if str(action).startswith("metric.")] == [
        "metric.created",
        "metric.deactivated",
        "metric.activated",
    ]


async def test_what_is_not_there_is_a_404(api: Api) -> None:
    for status, answer in (
        await api.get("/v1/metrics/nope"),
        await api.patch("/v1/metrics/nope", {"name": "x"}),
        await api.post("/v1/metrics/nope/deactivate"),
    ):
        assert (status, answer["error"]["code"]) == (404, "METRIC_NOT_FOUND")


async def test_lists_are_paged_newest_first(api: Api) -> None:
    for key in "abcde":
        await api.made("/v1/metrics", {"key": key, "aggregation": "sum"})
    seen = []
    page = await api.got("/v1/metrics", limit=2)
    while True:
        seen += [metric["key"] for metric in page["data"]]
        if page["next_cursor"] is None:
            break
        page = await api.got("/v1/metrics", limit=2, cursor=page["next_cursor"])
    assert seen == list("edcba")
    for query in ({"limit": 0}, {"limit": 501}, {"cursor": "x"}, {"cursor": "WzFlMzBd"}, {"q": 1}):
        status, answer = await api.get("/v1/metrics", **query)
        assert (status, answer["error"]["field"]) == (422, next(iter(query)))
