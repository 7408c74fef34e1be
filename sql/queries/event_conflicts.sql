-- name: page :many
-- params: $1 before_no int8, $2 row_limit int8
-- why: what came second under a key, newest first, by event_conflicts_pkey
SELECT
    c.conflict_no, u.customer_id, m.metric_key, c.event ->> 'idempotency_key' AS idempotency_key,
    (c.event ->> 'value')::numeric AS value, (c.event ->> 'occurred_at')::timestamptz AS occurred_at,
    c.event ->> 'subscription_id' AS subscription_id, c.event -> 'properties' AS properties,
    c.received_at
FROM event_conflicts AS c
JOIN customers AS u ON u.customer_no = c.customer_no
JOIN metrics AS m ON m.metric_no = (c.event ->> 'metric_no')::integer
WHERE c.conflict_no < $1
ORDER BY c.conflict_no DESC
LIMIT $2;

-- name: page_of_customer :many
-- params: $1 customer_no int4, $2 before_no int8, $3 row_limit int8
-- why: the same of one customer, by event_conflicts_of_customer
SELECT
    c.conflict_no, u.customer_id, m.metric_key, c.event ->> 'idempotency_key' AS idempotency_key,
    (c.event ->> 'value')::numeric AS value, (c.event ->> 'occurred_at')::timestamptz AS occurred_at,
    c.event ->> 'subscription_id' AS subscription_id, c.event -> 'properties' AS properties,
    c.received_at
FROM event_conflicts AS c
JOIN customers AS u ON u.customer_no = c.customer_no
JOIN metrics AS m ON m.metric_no = (c.event ->> 'metric_no')::integer
WHERE c.customer_no = $1 AND c.conflict_no < $2
ORDER BY c.conflict_no DESC
LIMIT $3;
