"""The SQL of the benchmark: filling a database, rating it independently, the floor, the books."""

from typing import Final

# What a charge owes of a month, in cents, written down once more and without our code.
RATING: Final = """
    CREATE FUNCTION owed_minor(metric_no integer, quantity numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE AS $$
        SELECT round(100 * CASE metric_no
            WHEN 1 THEN quantity * 0.015
            WHEN 2 THEN least(quantity, 1000) * 0.02
                + least(greatest(quantity - 1000, 0), 4000) * 0.015
                + greatest(quantity - 5000, 0) * 0.0125
            WHEN 3 THEN quantity * CASE
                WHEN quantity <= 1000 THEN 0.02 WHEN quantity <= 5000 THEN 0.015 ELSE 0.0125
            END
            WHEN 4 THEN ceil(quantity / 100) * 1.25
            WHEN 5 THEN least(greatest(quantity - 1000, 0), 4000) * 0.0333
                + greatest(quantity - 5000, 0) * 0.0111
        END)
    $$
"""

MAKE_METRICS: Final = """
    INSERT INTO metrics (metric_id, metric_key, name, aggregation, value_type, created_at)
    SELECT 'met_' || n, 'm' || n, 'm' || n, 'sum', 'decimal', now()
    FROM generate_series(1, $1::integer) AS n
"""
MAKE_CUSTOMERS: Final = """
    INSERT INTO customers (customer_id, currency, metadata, created_at)
    SELECT 'customer-' || n, 'usd', '{}', $2::timestamptz
    FROM generate_series(1, $1::integer) AS n
"""
SUBSCRIBE: Final = """
    INSERT INTO subscriptions (
        subscription_id, customer_no, plan_id, plan_version, start_at, created_at
    )
    SELECT 'sub_' || to_char(customer_no, 'FM000000'), customer_no, $1, 1, $2, $2
    FROM customers
"""
PRICE_METRICS: Final = """
    INSERT INTO subscription_metrics (subscription_id, customer_no, metric_no, during)
    SELECT s.subscription_id, s.customer_no, m.metric_no, tstzrange(s.start_at, NULL)
    FROM subscriptions AS s
    CROSS JOIN metrics AS m
"""
PARTITIONS: Final = "SELECT ensure_event_partitions($1::date[])"

FILL_EVENTS: Final = """
    INSERT INTO events (
        customer_no, metric_no, occurred_at, landing_no, arrival_no, payload_hash, value,
        received_at, idempotency_key, properties
    )
    SELECT
        1 + (hashint8extended(n, 1) & 2147483647) % $3::integer,
        1 + (hashint8extended(n, 2) & 65535) % $4::integer,
        $5::timestamptz + ($6::timestamptz - $5::timestamptz) * (n - $1::bigint) / $2::bigint,
        $7::bigint, n, hashint8extended(n, 3), (hashint8extended(n, 4) & 65535) * 0.01,
        $6::timestamptz, md5(n::text),
        (ARRAY['{"region": "eu"}', '{"region": "us"}', '{}']::jsonb[])[1 + n % 3]
    FROM generate_series($1::bigint, $1::bigint + $2::bigint - 1) AS n
"""
FILL_ROLLUPS: Final = """
    INSERT INTO usage_daily (
        customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min,
        landing_no
    )
    SELECT
        customer_no, metric_no, (occurred_at AT TIME ZONE 'UTC')::date AS day,
        count(*), sum(payload_hash), sum(value), max(value), min(value), $3::bigint
    FROM events
    WHERE occurred_at >= $1 AND occurred_at < $2
    GROUP BY customer_no, metric_no, day
    ORDER BY customer_no, metric_no, day
"""
FILL_INVOICES: Final = """
    WITH used AS (
        SELECT customer_no, metric_no, sum(value) AS quantity
        FROM events
        WHERE occurred_at >= $3 AND occurred_at < $4
        GROUP BY customer_no, metric_no
    )
    INSERT INTO invoices (
        invoice_id, number, customer_no, customer_sequence, status, currency, total_minor,
        period_start, period_end, cutoff, created_at
    )
    SELECT 'inv_' || $1::integer || '_' || customer_no,
        $1::bigint * $2::integer + customer_no, customer_no, $1::integer + 1, 'issued', 'usd',
        sum(owed_minor(metric_no, quantity)), $3, $4, $4, $4
    FROM used
    GROUP BY customer_no
    ORDER BY customer_no
"""
FILL_LINES: Final = """
    WITH used AS (
        SELECT customer_no, metric_no, sum(value) AS quantity, count(*) AS event_count,
            sum(payload_hash) AS digest
        FROM events
        WHERE occurred_at >= $2 AND occurred_at < $3
        GROUP BY customer_no, metric_no
    ), owed AS (
        SELECT *, owed_minor(metric_no, quantity) AS owed FROM used
    )
    INSERT INTO invoice_lines (
        invoice_id, line_no, kind, description, charge_id, pricing_model, metric_key,
        subscription_id, plan_id, plan_version, period_start, period_end, segment_start,
        segment_end, window_end, revision, quantity, exact_amount, amount_minor, owed_minor,
        previously_billed_minor, event_count, digest, watermark
    )
    SELECT 'inv_' || $1::integer || '_' || customer_no, metric_no, 'usage', 'm' || metric_no,
        'chg_' || metric_no, 'tiered', 'm' || metric_no,
        'sub_' || to_char(customer_no, 'FM000000'), 'plan', 1, $2, $3, $2, $3, $3, 1, quantity,
        owed * 0.01, owed, owed, 0, event_count, digest, $1::integer + 1
    FROM owed
    ORDER BY customer_no, metric_no
"""
NUMBER_LANDINGS: Final = "SELECT setval('landing_numbers', $1::bigint)"
NUMBER_INVOICES: Final = "UPDATE counters SET value = $1::bigint WHERE name = 'invoice'"
MARK: Final = """
    UPDATE subscriptions
    SET billed_through = $2::timestamptz, rated_watermark = $1::bigint,
        rated_on = $2::timestamptz::date
"""

# A clone is cold. What landings and the last run touch is in a running installation's memory: the
# month's events, and the indexes that both write to; 1 GB holds it.
WARMING: Final = "CREATE EXTENSION pg_prewarm SCHEMA public"
WARM: Final = """
    SELECT sum(public.pg_prewarm(c.oid))
    FROM pg_class AS c
    WHERE c.relnamespace = current_schema()::regnamespace
        AND (
            c.relname LIKE 'events_2025_11%' AND c.relkind IN ('r', 'i')
            OR c.relname IN (
                'usage_daily_pkey', 'invoices_pkey', 'invoices_customer_sequence_once',
                'invoice_lines_pkey', 'invoice_lines_billed_once', 'customers', 'subscriptions'
            )
        )
"""

# The floor: one statement to aggregate, then one a line, into a table like invoice_lines.
FLOOR_TABLE: Final = "CREATE TABLE floor_lines (LIKE invoice_lines INCLUDING ALL)"
FLOOR_USAGE: Final = """
    SELECT customer_no, metric_no, sum(value) AS value, count(*) AS event_count,
        sum(payload_hash) AS digest
    FROM events
    WHERE occurred_at >= $1 AND occurred_at < $2
    GROUP BY customer_no, metric_no
    ORDER BY customer_no, metric_no
"""
FLOOR_LINE: Final = """
    INSERT INTO floor_lines (
        invoice_id, line_no, kind, description, charge_id, pricing_model, metric_key,
        subscription_id, plan_id, plan_version, period_start, period_end, segment_start,
        segment_end, window_end, revision, quantity, exact_amount, amount_minor, owed_minor,
        previously_billed_minor, event_count, digest, watermark
    )
    VALUES (
        $1, $2, 'usage', $3, $4, 'per_unit', $3, $5, 'plan', 1, $6, $7, $6, $7, $7, 1, $8, $8,
        $9, $9, 0, $10, $11, 1
    )
"""
FLOOR_BOOKS: Final = "SELECT count(*), sum(quantity) FROM floor_lines"

LISTENING: Final = """
    SELECT count(*)
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'abaxus-worker'
        AND query LIKE 'LISTEN%'
"""
UNDER_WAY: Final = "SELECT status IN ('queued', 'running') FROM bulk_runs WHERE bulk_run_id = $1"
QUEUE_IDLE: Final = "SELECT NOT EXISTS (SELECT FROM jobs WHERE state = 'running')"

BOOKS: Final = """
    WITH owed AS MATERIALIZED (
        SELECT customer_no, metric_no, sum(value) AS quantity, count(*) AS event_count,
            sum(payload_hash) AS digest, owed_minor(metric_no, sum(value)) AS owed
        FROM events
        WHERE occurred_at >= $1 AND occurred_at < $2
        GROUP BY customer_no, metric_no
    ), lines AS (
        SELECT
            count(b.invoice_id) AS lines, count(o.customer_no) AS owed_lines,
            count(*) FILTER (
                WHERE (b.amount_minor, b.quantity, b.event_count, b.digest)
                    IS DISTINCT FROM (o.owed, o.quantity, o.event_count, o.digest)
            ) AS lines_that_differ
        FROM owed AS o
        FULL JOIN (
            SELECT i.customer_no, m.metric_no, l.*
            FROM invoices AS i
            JOIN invoice_lines AS l ON l.invoice_id = i.invoice_id
            LEFT JOIN metrics AS m ON m.metric_key = l.metric_key
            WHERE i.cutoff = $2
        ) AS b ON b.customer_no = o.customer_no AND b.metric_no = o.metric_no
    ), totals AS (
        SELECT
            count(i.invoice_id) AS invoices, count(DISTINCT i.customer_no) AS customers,
            sum(i.total_minor) AS total_minor, sum(o.owed) AS owed_minor,
            count(*) FILTER (WHERE i.total_minor IS DISTINCT FROM o.owed) AS totals_that_differ
        FROM (SELECT customer_no, sum(owed) AS owed FROM owed GROUP BY customer_no) AS o
        FULL JOIN (SELECT * FROM invoices WHERE cutoff = $2) AS i ON i.customer_no = o.customer_no
    ), numbers AS (
        SELECT min(number) AS first_number, max(number) AS last_number,
            count(DISTINCT number) AS numbers
        FROM invoices
    )
    SELECT lines.*, totals.*, numbers.*,
        (SELECT value FROM counters WHERE name = 'invoice') AS counter,
        (SELECT count(*) FROM audit_log WHERE action = 'invoice.issued') AS audited
    FROM lines, totals, numbers
"""
