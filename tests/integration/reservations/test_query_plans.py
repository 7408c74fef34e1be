"""Reserving and settling cost the same however many reservations there are."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from abaxus_core.kernel.database import Database
from abaxus_core.kernel.sql import load
from tests.support.plans import walk

ROWS_READ_MAX = 200
NOW = datetime(2026, 5, 10, tzinfo=UTC)
LATER = datetime(2026, 6, 10, tzinfo=UTC)

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
    INSERT INTO reservation_tallies (customer_no, feature_key, held)
    SELECT customer_no, 'tokens', 10 FROM customers
    """,
    """
    INSERT INTO reservations (reservation_id, customer_no, feature_key, metric_nos, quantity,
        status, counts_from, expires_at, created_at, settled_at)
    SELECT 'res_' || n, n % 5000 + 1, 'tokens', '{7}', 1,
        CASE WHEN n % 20 < 2 THEN 'held' ELSE 'released' END,
        '2026-05-01Z', '2026-05-20Z', '2026-05-01Z',
        CASE WHEN n % 20 >= 2 THEN '2026-05-02Z'::timestamptz + n * interval '1 s' END
    FROM generate_series(1, 100000) AS n
    """,
    "ANALYZE",
)

# statement, arguments, index that must serve it
HOT = (
    ("lock_tally", ("c77", "tokens"), "reservation_tallies_pkey"),
    ("lock_tally_of", ("res_77",), "reservations_pkey"),
    ("get", ("res_77",), "reservations_pkey"),
    ("held", (77, NOW, "tokens", None, None, None, 51), "reservations_held"),
    ("held", (77, NOW, None, "tokens", NOW, "res_76", 51), "reservations_held"),
    ("expire", (77, "tokens", NOW, 10_000), "reservations_held"),
    ("settle", ("res_80", "released", None, None, NOW, Decimal(0), None), "reservations_pkey"),
    ("next_run_out", (LATER,), "reservations_running_out"),
    ("delete_settled", (NOW, 20), "reservations_settled"),
)


async def test_statements_use_their_indexes(live: Database) -> None:
    async with live.connection() as conn:
        for statement in FILL:
            await conn.execute(statement)
        for name, args, index in HOT:
            explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + load("reservations")[name].text
            plan = msgspec.json.decode(await conn.fetchval(explain, *args))[0]["Plan"]
            nodes = list(walk(plan))
            assert index in {node.get("Index Name") for node in nodes}, (name, plan)
            scanned = [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]
            assert scanned == [], (name, plan)
            read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
            assert read <= ROWS_READ_MAX, (name, plan)
