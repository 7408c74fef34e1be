"""What came second under a key: kept, listed, counted; never stored."""

from collections.abc import AsyncIterator
from decimal import Decimal

import httpx
import pytest

from abaxus_core.http.paging import encode_cursor
from abaxus_core.kernel import sql
from abaxus_core.services.work import Context
from tests.support.api import bearer, error_of, new_key, serving
from tests.support.clock import FakeClock
from tests.support.metering import T0, event, fetch, land_all, make_catalogue, offer
from tests.support.postgres import TestDatabases

ROUTE = "/v1/events/conflicts"


@pytest.fixture
async def client(
    databases: TestDatabases, clock: FakeClock, context: Context
) -> AsyncIterator[httpx.AsyncClient]:
    """The API over the catalogue of `context`, and the same in test mode."""
    await make_catalogue(databases.test)
    async with serving(databases, clock) as api:
        yield api.client


async def clash(context: Context, *keys: str, value: int = 7, **fields: object) -> None:
    """Let each key's event land, then send another under it."""
    await offer(context, *(event(key, **fields) for key in keys))
    await land_all(context)
    for key in keys:
        await offer(context, event(key, **{**fields, "value": Decimal(value)}))


async def listed(client: httpx.AsyncClient, **query: str) -> list[tuple[str, str]]:
    """Key and value of each conflict of a page."""
    data = (await client.get(ROUTE, params=query)).json()["data"]
    return [(row["idempotency_key"], row["value"]) for row in data]


async def test_a_conflict_says_what_came_second(
    client: httpx.AsyncClient, context: Context
) -> None:
    sent = {
        "customer_id": "acme",
        "metric_key": "total",
        "value": "1",
        "timestamp": "2026-05-01T12:00:00Z",
        "idempotency_key": "a",
    }
    other = {**sent, "metric_key": "users", "value": "2.50", "properties": {"user": "x", "n": 1}}
    first = (await client.post("/v1/events", json=sent)).json()
    await land_all(context)
    second = (await client.post("/v1/events", json=other)).json()
    assert (second["event_id"], second["duplicate"]) == (first["event_id"], True)
    answer = await client.get(ROUTE)
    assert answer.status_code == 200
    assert answer.json() == {
        "data": [
            {
                **other,
                "value": "2.5",
                "event_id": first["event_id"],
                "subscription_id": None,
                "received_at": "2026-05-10T12:00:00Z",
            }
        ],
        "next_cursor": None,
    }


async def test_a_conflict_without_properties_has_none(
    client: httpx.AsyncClient, context: Context
) -> None:
    await clash(context, "a")
    (row,) = (await client.get(ROUTE)).json()["data"]
    assert row["properties"] is None


async def test_newest_first_in_pages_of_one_customer_or_of_all(
    client: httpx.AsyncClient, context: Context
) -> None:
    await clash(context, "a", "b")
    await clash(context, "c", customer_id="beta")
    await clash(context, "d")
    assert await listed(client) == [("d", "7"), ("c", "7"), ("b", "7"), ("a", "7")]
    assert await listed(client, customer_id="beta") == [("c", "7")]
    seen: list[str] = []
    query = {"customer_id": "acme", "limit": "2"}
    for _ in range(2):
        page = (await client.get(ROUTE, params=query)).json()
        seen += [row["idempotency_key"] for row in page["data"]]
        query["cursor"] = page["next_cursor"]
    assert seen == ["d", "b", "a"]
    assert page["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"customer_id": "nobody"}, (404, "CUSTOMER_NOT_FOUND", "customer_id")),
        ({"cursor": "nonsense"}, (422, "VALIDATION_FAILED", "cursor")),
        ({"cursor": encode_cursor(2**63)}, (422, "VALIDATION_FAILED", "cursor")),
        ({"limit": "501"}, (422, "VALIDATION_FAILED", "limit")),
        ({"metric_key": "total"}, (422, "UNKNOWN_FIELD", "metric_key")),
    ],
)
async def test_a_bad_query_is_named(
    client: httpx.AsyncClient, query: dict[str, str], expected: tuple[int, str, str]
) -> None:
    assert error_of(await client.get(ROUTE, params=query)) == expected


async def test_conflicts_are_read_with_a_key_that_reads_and_of_its_mode(
    databases: TestDatabases, client: httpx.AsyncClient, context: Context, clock: FakeClock
) -> None:
    await clash(context, "a")
    sends = await new_key(context, "ingest")
    assert (await client.get(ROUTE, headers=bearer(sends))).status_code == 403
    async with serving(databases, clock) as api:
        tests = await api.key("read", mode="test")
        assert (await client.get(ROUTE, headers=bearer(tests))).json()["data"] == []


async def test_each_payload_that_came_second_is_counted_once(context: Context) -> None:
    await clash(context, "a")
    await offer(context, event("a", value=Decimal(7)), event("a"), event("a", value=Decimal(8)))
    assert counted(context) == "2.0"


async def test_a_conflict_that_shows_only_as_it_lands_is_counted_by_the_landing(
    context: Context,
) -> None:
    await offer(context, event("a"))
    await offer(context, event("a", value=Decimal(7)))
    await offer(context, event("b"), event("b", value=Decimal(7)))
    (landed,) = await land_all(context)
    assert landed.conflict_count == 1
    assert counted(context) == "1.0"


@pytest.mark.parametrize(
    ("statement", "arguments", "index"),
    [
        ("page", (2**63 - 1, 51), "event_conflicts_pkey"),
        ("page_of_customer", (1, 2**63 - 1, 51), "event_conflicts_of_customer"),
    ],
)
async def test_a_page_is_found_by_its_index(
    context: Context, statement: str, arguments: tuple[int, ...], index: str
) -> None:
    await fetch(
        context.database,
        "INSERT INTO event_conflicts"
        " (customer_no, key_high, key_low, payload_hash, event, received_at)"
        " SELECT 1 + n % 500, 0, n, 0, '{\"metric_no\": 1}', $1"
        " FROM generate_series(1, 100000) AS n",
        T0,
    )
    await fetch(context.database, "ANALYZE event_conflicts")
    text = sql.load("event_conflicts")[statement].text
    rows = await fetch(context.database, f"EXPLAIN {text}", *arguments)
    plan = "\n".join(str(line) for (line,) in rows)
    assert f"Index Scan Backward using {index}" in plan, plan


def counted(context: Context) -> str:
    """The metric of live mode, as it is shown."""
    shown = context.telemetry.exposition().decode().splitlines()
    head = 'abaxus_event_conflicts_total{mode="live"} '
    (line,) = (line for line in shown if line.startswith(head))
    return line.removeprefix(head)
