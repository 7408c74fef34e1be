"""The audit log through the API: everything, or what a filter asks, newest first."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from abaxus_core.http.paging import encode_cursor
from abaxus_core.kernel import sql
from tests.support.api import Api, bearer, error_of, serving
from tests.support.clock import FakeClock
from tests.support.metering import T0, fetch
from tests.support.plans import walk
from tests.support.postgres import TestDatabases

LAST = 2**62
PAGES_MAX = 20
ROWS_READ_MAX = 200
ORDINARY = 20_000
HISTORY = (
    """
    INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
    VALUES ('aud_first', $1, 'key_rare', 'metric.created', 'metric', 'calls', '{}')
    RETURNING 1
    """,
    f"""
    INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
    SELECT 'aud_' || n, $1, 'system', 'invoice.issued', 'invoice', 'inv_' || n, '{{}}'
    FROM generate_series(1, {ORDINARY}) AS n
    RETURNING 1
    """,
)
# statement, arguments, index that must serve it
ASKED = (
    ("page", (LAST, 51), "audit_log_pkey"),
    ("page_of_object", ("invoice", "inv_1", None, None, LAST, 51), "audit_log_of_object"),
    ("page_of_action", ("metric.created", None, None, LAST, 51), "audit_log_of_action"),
    ("page_of_actor", ("key_rare", None, LAST, 51), "audit_log_of_actor"),
    ("page_of_type", ("metric", LAST, 51), "audit_log_of_type"),
)


@pytest.fixture
async def api(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Api]:
    async with serving(databases, clock) as api:
        yield api


@pytest.fixture
async def changed(api: Api) -> str:
    """Two customers and a metric, which a key that may write made; its id."""
    key = bearer(await api.key("write"))
    made = (
        ("POST", "/v1/customers", {"id": "acme"}),
        ("POST", "/v1/customers", {"id": "beta"}),
        ("POST", "/v1/metrics", {"key": "acme", "aggregation": "sum"}),
        ("PATCH", "/v1/customers/acme", {"email": "pay@acme.example"}),
    )
    for method, path, body in made:
        answer = await api.client.request(method, path, json=body, headers=key)
        assert answer.is_success, answer.text
    newest = (await listed(api, object_type="customer"))[0]
    return str(newest["actor"])


async def listed(api: Api, **query: str) -> list[Any]:
    """The entries that the query asks for, two at a time."""
    entries: list[Any] = []
    cursor: dict[str, str] = {}
    for _ in range(PAGES_MAX):
        answer = await api.client.get("/v1/audit", params={**query, "limit": "2", **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["data"]) <= 2
        entries += page["data"]
        if page["next_cursor"] is None:
            return entries
        cursor = {"cursor": page["next_cursor"]}
    raise AssertionError("the pages do not end")


def named(entries: list[Any]) -> list[tuple[str, str]]:
    return [(entry["action"], entry["object_id"]) for entry in entries]


async def test_everything_newest_first(api: Api, changed: str) -> None:
    entries = await listed(api)
    assert named(entries)[:4] == [
        ("customer.updated", "acme"),
        ("metric.created", "acme"),
        ("customer.created", "beta"),
        ("customer.created", "acme"),
    ]
    assert {action for action, _ in named(entries)[4:]} == {"api_key.created"}
    assert len(await fetch(api.contexts["live"].database, "SELECT FROM audit_log")) == len(entries)
    assert entries[1].pop("id").startswith("aud_")
    assert entries[1] == {
        "at": "2026-05-10T12:00:00Z",
        "actor": changed,
        "action": "metric.created",
        "object_type": "metric",
        "object_id": "acme",
        "data": {"aggregation": "sum"},
    }


async def test_filters_alone_and_together(api: Api, changed: str) -> None:
    of_acme = {"object_type": "customer", "object_id": "acme"}
    updated, created = ("customer.updated", "acme"), ("customer.created", "acme")
    beta = ("customer.created", "beta")
    metric = ("metric.created", "acme")
    expected = (
        ({"object_type": "customer"}, [updated, beta, created]),
        (of_acme, [updated, created]),
        ({"action": "customer.created"}, [beta, created]),
        ({"actor": changed}, [updated, metric, beta, created]),
        ({"actor": changed, "object_type": "metric"}, [metric]),
        ({"actor": changed, "action": "customer.created"}, [beta, created]),
        ({"action": "customer.created", "object_type": "metric"}, []),
        ({**of_acme, "action": "customer.created"}, [created]),
        ({**of_acme, "actor": changed}, [updated, created]),
        ({**of_acme, "actor": "system"}, []),
        ({"action": "customer.created", "actor": "system"}, []),
        ({"actor": "nobody"}, []),
        ({"object_type": "nothing"}, []),
    )
    for query, entries in expected:
        assert named(await listed(api, **query)) == entries, query


async def test_bad_queries_are_named(api: Api) -> None:
    refusals = {
        "object_id=acme": "object_type",
        "action=": "action",
        "subject=acme": "subject",
        f"cursor={encode_cursor(2**63)}": "cursor",
        f"cursor={encode_cursor('acme')}": "cursor",
    }
    for query, field in refusals.items():
        status, _, named_field = error_of(await api.client.get(f"/v1/audit?{query}"))
        assert (status, named_field) == (422, field), query


async def test_it_takes_the_scope_and_the_mode(api: Api, changed: str) -> None:
    for scope in ("write", "read", "ingest"):
        answer = await api.client.get("/v1/audit", headers=bearer(await api.key(scope)))
        assert error_of(answer)[:2] == (403, "FORBIDDEN_SCOPE")
    other = bearer(await api.key("admin", mode="test"))
    answer = await api.client.get("/v1/audit?object_type=customer", headers=other)
    assert answer.json() == {"data": [], "next_cursor": None}


async def test_no_filter_walks_the_log(api: Api) -> None:
    """What is rare and long ago is found without reading what came since."""
    database = api.contexts["live"].database
    for statement in HISTORY:
        await fetch(database, statement, T0)
    await fetch(database, "ANALYZE audit_log")
    for name, args, index in ASKED:
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + sql.load("audit")[name].text
        ((plan,),) = await fetch(database, explain, *args)
        nodes = list(walk(msgspec.json.decode(str(plan))[0]["Plan"]))
        assert index in {node.get("Index Name") for node in nodes}, (name, plan)
        read = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes)
        assert 0 < read <= ROWS_READ_MAX, (name, plan)
