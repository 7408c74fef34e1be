"""The SQL of the benchmark: an installation with a year behind it, and its books at the end."""

from typing import Final

# Customer 1 makes one event in thirteen, and so on down a Zipf-like line: the customer of a draw
# from [0, 1) is the draw's power of their number. population.py draws the same way.
MAKE_METRICS: Final = """
    INSERT INTO metrics (metric_id, metric_key, name, aggregation, value_type, created_at)
    SELECT 'met_' || key, key, key, aggregation, 'decimal', $3::timestamptz
    FROM unnest($1::text[], $2::text[]) AS given (key, aggregation)
"""
MAKE_CUSTOMERS: Final = """
    INSERT INTO customers (customer_id, currency, metadata, created_at)
    SELECT 'customer-' || n, 'usd', '{}', $2::timestamptz
    FROM generate_series(1, $1::integer) AS n
"""
# At any microsecond of the year; every twentieth customer has an add-on beside the plan.
SUBSCRIBE: Final = """
    INSERT INTO subscriptions (
        subscription_id, customer_no, plan_id, plan_version, start_at, created_at
    )
    SELECT
        CASE WHEN is_addon THEN 'add_' ELSE 'sub_' END || customer_no, customer_no,
        CASE WHEN is_addon THEN $4 ELSE ($3::text[])[1 + customer_no % cardinality($3::text[])] END,
        1, start_at, start_at
    FROM (
        SELECT c.customer_no, is_addon,
            $1::timestamptz + ($2::timestamptz - $1::timestamptz)
                * ((hashint8extended(c.customer_no, is_addon::integer) & 2147483647) / 2147483648.0)
                AS start_at
        FROM customers AS c
        CROSS JOIN unnest(ARRAY[false, true]) AS is_addon
        WHERE NOT is_addon OR c.customer_no % 20 = 0
    ) AS made
"""
PRICE_METRICS: Final = """
    INSERT INTO subscription_metrics (subscription_id, customer_no, metric_no, during)
    SELECT s.subscription_id, s.customer_no, m.metric_no, tstzrange(s.start_at, NULL)
    FROM subscriptions AS s
    CROSS JOIN metrics AS m
    WHERE s.plan_id = ANY ($1::text[])
"""
PARTITIONS: Final = "SELECT ensure_event_partitions($1::date[])"

FILL_EVENTS: Final = """
    INSERT INTO events (
        customer_no, metric_no, occurred_at, landing_no, arrival_no, payload_hash, value,
        received_at, idempotency_key, properties
    )
    SELECT
        floor(power(
            $2::double precision, (hashint8extended(n, 1) & 2147483647) / 2147483648.0
        ))::integer,
        1 + (hashint8extended(n, 2) & 65535) % $3::integer,
        $4::timestamptz + ($5::timestamptz - $4::timestamptz) * n / $1::bigint,
        1, n, hashint8extended(n, 3), 1 + (hashint8extended(n, 4) & 1023) * 0.01,
        $5::timestamptz, md5(n::text), '{"region": "eu"}'
    FROM generate_series(0, $1::bigint - 1) AS n
"""
FILL_ROLLUPS: Final = """
    INSERT INTO usage_daily (
        customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min,
        landing_no
    )
    SELECT
        customer_no, metric_no, (occurred_at AT TIME ZONE 'UTC')::date AS day,
        count(*), sum(payload_hash), sum(value), max(value), min(value), 1
    FROM events
    GROUP BY customer_no, metric_no, day
    ORDER BY customer_no, metric_no, day
"""
# What is left of the months before, whose raw events were dropped: every fourth day.
FILL_OLD_ROLLUPS: Final = """
    INSERT INTO usage_daily (
        customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min,
        landing_no
    )
    SELECT c.customer_no, m.metric_no, day::date, 10, c.customer_no, 50, 9, 1, 1
    FROM customers AS c
    CROSS JOIN metrics AS m
    CROSS JOIN generate_series($1::date, $2::date - 1, INTERVAL '1 day') AS day
    WHERE (c.customer_no + m.metric_no + extract(doy FROM day)::integer) % 4 = 0
    ORDER BY c.customer_no, m.metric_no, day
"""
NUMBER_LANDINGS: Final = "SELECT setval('landing_numbers', 1)"

WAITING: Final = "SELECT coalesce(sum(event_count), 0) FROM event_inbox"
BOOKS: Final = """
    SELECT
        (SELECT count(*) FROM event_keys) AS landed,
        (SELECT count(*) FROM amendments WHERE status = 'applied') AS changes
"""
