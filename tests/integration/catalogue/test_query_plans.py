"""The statements behind checks, subscribing and lists stay on their indexes as tables grow."""

from datetime import UTC, datetime

import msgspec
import pytest

from abaxus_core.kernel.database import Database
from abaxus_core.kernel.sql import load
from abaxus_core.services.entitlements.lane import LOOK_TIMEOUT_S
from tests.support.plans import walk

ROWS_READ_MAX = 600
NOW = datetime(2026, 5, 10, tzinfo=UTC)

FILL = (
    """
    INSERT INTO customers (customer_id, metadata, created_at)
    SELECT 'c' || n, '{}', now() FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO metrics (metric_id, metric_key, name, aggregation, value_type, created_at)
    SELECT 'met_' || n, 'm' || n, 'm', 'sum', 'decimal', now() FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO price_plans (plan_id, latest_version, created_at)
    SELECT 'p' || n, 1, now() - n * interval '1 s' FROM generate_series(1, 2000) AS n
    """,
    """
    INSERT INTO price_plan_versions (plan_id, version, name, currency, billing_interval,
        billing_count, effective_from, charges, entitlements, created_at)
    SELECT plan_id, 1, 'p', 'usd', 'month', 1, created_at, '[]', '[]', created_at FROM price_plans
    """,
    """
    INSERT INTO subscriptions (subscription_id, customer_no, plan_id, plan_version, start_at,
        created_at)
    SELECT 'sub_' || lpad(customer_no::text, 26, '0'), customer_no,
        'p' || customer_no % 2000 + 1, 1, '2026-01-01Z', now()
    FROM customers
    """,
    """
    INSERT INTO subscription_metrics (subscription_id, customer_no, metric_no, during)
    SELECT subscription_id, customer_no, customer_no % 5000 + 1, tstzrange(start_at, NULL)
    FROM subscriptions
    """,
    """
    INSERT INTO amendments (amendment_id, subscription_id, type, effective, effective_at, prorate,
        status, applied_no, applied_at, created_at)
    SELECT 'amd_' || subscription_id, subscription_id, 'resume', 'immediate', now(), false,
        'applied', 1, now(), now()
    FROM subscriptions
    """,
    """
    INSERT INTO entitlement_documents (customer_no, version, document)
    SELECT customer_no, 1, '{}' FROM customers
    """,
    """
    INSERT INTO usage_daily (customer_no, metric_no, day, event_count, digest, value_sum,
        value_max, value_min, landing_no)
    SELECT n % 5000 + 1, n % 5000 + 1, '2026-05-01'::date + n / 5000, 1, n, n, n, n, 1
    FROM generate_series(1, 50000) AS n
    """,
    "ANALYZE",
)

# aggregate, statement, arguments, index that must serve it
HOT = (
    ("entitlements", "held", ([77], NOW), "subscriptions_of_customer"),
    ("subscriptions", "priced_elsewhere", (77, ["m78"], NOW, None), "metric_priced_once"),
    ("amendments", "in_force", (["sub_77"],), "amendments_applied_once"),
    ("amendments", "page", ("sub_77", "amd_z", 51), "amendments_of_subscription"),
    ("amendments", "next_due", (NOW,), "amendments_pending"),
    ("amendments", "due_of_customers", ([77], NOW), "amendments_pending"),
    ("subscriptions", "page", ("sub_z", 51), "subscriptions_pkey"),
    ("subscriptions", "page_of_customer", ("c77", "sub_z", 51), "subscriptions_of_customer"),
    ("customers", "get", ("c77",), "customers_id_once"),
    ("customers", "page", (3_000, 51), "customers_pkey"),
    ("metrics", "find", (["m7", "m8"],), "metrics_key_once"),
    ("price_plans", "get_current", ("p7", NOW), "price_plan_versions_pkey"),
    ("price_plans", "page", (NOW, NOW, "p7", 51), "price_plans_newest"),
)


@pytest.fixture
async def filled(live: Database) -> Database:
    async with live.connection() as conn:
        for statement in FILL:
            await conn.execute(statement)
    return live


async def test_hot_statements_use_their_indexes(filled: Database) -> None:
    for aggregate, name, args, index in HOT:
        async with filled.connection() as conn:
            explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + load(aggregate)[name].text
            plan = msgspec.json.decode(await conn.fetchval(explain, *args))[0]["Plan"]
        nodes = list(walk(plan))
        assert index in {node.get("Index Name") for node in nodes}, (name, plan)
        scanned = [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]
        assert scanned == [], (name, plan)
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes) <= ROWS_READ_MAX, (
            name
        )


async def test_a_look_is_planned_once_and_stays_on_its_indexes(filled: Database) -> None:
    days = [f"2026-05-{day:02}" for day in (1, 1, 31, 31)]
    columns = ["c77", 1, 1, 77, "sum", *days]
    arrays = ", ".join(f"'{{{column}}}'" for column in columns)
    async with filled.pinned.connection(LOOK_TIMEOUT_S) as conn:
        await conn.execute(f"PREPARE look AS {load('entitlement_documents')['look'].text}")
        explain = f"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) EXECUTE look ({arrays})"
        plan = msgspec.json.decode(await conn.fetchval(explain))[0]["Plan"]
    nodes = list(walk(plan))
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert used == {"customers_id_once", "entitlement_documents_pkey", "usage_daily_pkey"}, plan
    assert [node for node in nodes if node["Node Type"] == "Seq Scan"] == [], plan
    assert "$1" in str(plan), "planned for any parameters"


async def test_what_changed_is_found_by_its_index_though_planned_while_there_was_nothing(
    filled: Database,
) -> None:
    async with filled.following.connection(LOOK_TIMEOUT_S) as conn:
        await conn.execute(f"PREPARE told AS {load('entitlement_changes')['told'].text}")
        position = await conn.fetchval("SELECT pg_current_snapshot()::text")
        explain = f"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) EXECUTE told ('{position}', 1000, 1000)"
        await conn.execute(explain)
        await conn.execute(
            "INSERT INTO entitlement_changes (transaction_id, customer_nos)"
            " SELECT '3'::xid8, ARRAY[1] FROM generate_series(1, 20000)"
        )
        plan = msgspec.json.decode(await conn.fetchval(explain))[0]["Plan"]
    nodes = [*walk(plan)]
    read = [node for node in nodes if node.get("Relation Name") == "entitlement_changes"]
    assert {node["Index Name"] for node in read} == {"entitlement_changes_by_transaction"}, plan
    assert sum(node["Actual Rows"] for node in read) == 0, plan
