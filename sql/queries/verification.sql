-- name: customers_after :many
-- params: $1 after_no int4, $2 row_limit int8
-- why: verify goes over customers in order of their numbers, some at a time
SELECT customer_no, customer_id
FROM customers
WHERE customer_no > $1
ORDER BY customer_no
LIMIT $2;

-- name: sizes :one
-- why: how much there is to look at, to say how far it has come; the rollups count the events
SELECT
    (SELECT count(*) FROM invoices) AS invoice_count,
    (SELECT coalesce(sum(event_count), 0)::bigint FROM usage_daily) AS event_count;

-- name: events_of :many
-- params: $1 first_no int4, $2 last_no int4, $3 after_customer_no int4, $4 after_metric_no int4, $5 after_at timestamptz, $6 after_arrival_no int8, $7 row_limit int8
-- why: all that is stored of some customers' events, in the order of events_customer_metric_time, with the partition that holds each; no pruning, so that one in the wrong place is seen
SELECT e.customer_no, e.metric_no, e.occurred_at, e.arrival_no, e.landing_no, e.payload_hash,
    e.value, e.idempotency_key, e.subscription_id, e.properties,
    p.relname::text AS partition
FROM events AS e
JOIN pg_class AS p ON p.oid = e.tableoid
WHERE e.customer_no <= $2
    AND (e.customer_no, e.metric_no, e.occurred_at, e.arrival_no) > ($3, $4, $5, $6)
    AND e.customer_no >= $1
ORDER BY e.customer_no, e.metric_no, e.occurred_at, e.arrival_no
LIMIT $7;

-- name: rollups_of :many
-- params: $1 last_no int4, $2 after_customer_no int4, $3 after_metric_no int4, $4 after_day date, $5 row_limit int8
-- why: the days of some customers in the order of usage_daily's primary key
SELECT u.customer_no, u.metric_no, u.day, u.event_count, u.digest, u.value_sum, u.value_max,
    u.value_min, u.last_event, u.landing_no, m.aggregation = 'last' AS keeps_last
FROM usage_daily AS u
JOIN metrics AS m ON m.metric_no = u.metric_no
WHERE u.customer_no <= $1 AND (u.customer_no, u.metric_no, u.day) > ($2, $3, $4)
ORDER BY u.customer_no, u.metric_no, u.day
LIMIT $5;

-- name: key_sums :many
-- params: $1 first_no int4, $2 last_no int4
-- why: how many keys each customer has and what their payload hashes sum to: what the events must come to
SELECT customer_no, count(*) AS key_count, sum(payload_hash) AS digest
FROM event_keys
WHERE customer_no BETWEEN $1 AND $2
GROUP BY customer_no;

-- name: repeated_events :many
-- params: $1 customer_no int4, $2 row_limit int8
-- why: which keys of a customer stand more than once; only asked where counts differ
SELECT idempotency_key, count(*) AS event_count
FROM events
WHERE customer_no = $1
GROUP BY idempotency_key
HAVING count(*) > 1
ORDER BY idempotency_key
LIMIT $2;

-- name: billed_before :many
-- params: $1 invoice_ids text[]
-- why: what the revisions before each line billed, by the index of invoice_lines_billed_once
SELECT l.invoice_id, l.line_no, b.amount_minor, b.exact_amount, b.revisions
FROM invoice_lines AS l
CROSS JOIN LATERAL (
    SELECT coalesce(sum(e.amount_minor), 0) AS amount_minor,
        coalesce(sum(e.exact_amount), 0) AS exact_amount, count(*) AS revisions
    FROM invoice_lines AS e
    WHERE e.subscription_id = l.subscription_id AND e.period_start = l.period_start
        AND e.segment_start = l.segment_start AND e.charge_id = l.charge_id
        AND e.revision < l.revision
) AS b
WHERE l.invoice_id = ANY ($1) AND l.charge_id IS NOT NULL;

-- name: credits :many
-- params: $1 invoice_ids text[]
-- why: what credit each invoice found and moved, by customer_credits_of_customer
SELECT i.invoice_id, coalesce(sum(c.amount_minor) FILTER (WHERE c.invoice_id <> i.invoice_id), 0)
        AS before_minor,
    coalesce(sum(c.amount_minor) FILTER (WHERE c.invoice_id = i.invoice_id), 0) AS change_minor
FROM invoices AS i
JOIN customer_credits AS c ON c.customer_no = i.customer_no
JOIN invoices AS e ON e.invoice_id = c.invoice_id
WHERE i.invoice_id = ANY ($1) AND e.customer_sequence <= i.customer_sequence
GROUP BY i.invoice_id;

-- name: succeeded_payments :many
-- params: $1 invoice_ids text[]
-- why: what collected each invoice, by payments_of_invoice: verify does not lean on payments_one_success
SELECT invoice_id, payment_id, amount_minor, currency
FROM payments
WHERE invoice_id = ANY ($1) AND state = 'succeeded'
ORDER BY invoice_id, payment_id;

-- name: numbers :one
-- why: gapless numbers are as many as the highest; the counter holds it
SELECT count(*) AS invoice_count, count(number) AS numbered_count,
    coalesce(max(number), 0) AS highest,
    (SELECT value FROM counters WHERE name = 'invoice') AS counter
FROM invoices;

-- name: number_gaps :many
-- params: $1 row_limit int8
-- why: between which numbers some are missing, by invoices_number_once; only asked where counts differ
SELECT before, number
FROM (
    SELECT number, coalesce(lag(number) OVER (ORDER BY number), 0) AS before
    FROM invoices
    WHERE number IS NOT NULL
) AS numbered
WHERE number <> before + 1
ORDER BY number
LIMIT $1;
