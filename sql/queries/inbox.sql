-- name: append :many
-- params: $1 event_count int4, $2 events bytea, $3 received_at timestamptz, $4 customer_no int4[], $5 key_high int4[], $6 key_low int8[], $7 backlog_max int8, $8 oldest_min timestamptz
-- why: one row and one commit, unless some of the keys are known: then nothing is written and they are answered, one probe of event_keys_once each. No row is answered while too much waits, which two probes of the primary key tell: the span of numbers is an upper bound of the rows, since the numbers have gaps
WITH known AS MATERIALIZED (
    SELECT offer.ordinality::integer - 1 AS place, k.payload_hash
    FROM unnest($4::integer[], $5::integer[], $6::bigint[])
        WITH ORDINALITY AS offer (customer_no, key_high, key_low, ordinality)
    JOIN event_keys AS k
        ON k.customer_no = offer.customer_no AND k.key_high = offer.key_high
        AND k.key_low = offer.key_low
),
appended AS (
    INSERT INTO event_inbox (event_count, events, received_at)
    SELECT $1, $2, $3
    WHERE NOT EXISTS (SELECT FROM known)
        AND (SELECT coalesce(max(inbox_id) - min(inbox_id) + 1, 0) FROM event_inbox) < $7
        AND coalesce(
            (SELECT received_at FROM event_inbox ORDER BY inbox_id LIMIT 1) >= $8::timestamptz,
            true
        )
    RETURNING inbox_id
)
SELECT place, payload_hash, NULL::bigint AS inbox_id FROM known
UNION ALL
SELECT NULL, NULL, inbox_id FROM appended;

-- name: claim :many
-- params: $1 events_max int4, $2 bytes_max int4
-- why: the oldest rows that no other landing holds; deleted in the transaction that lands them, so a crash brings them back
DELETE FROM event_inbox AS i
USING claim_inbox($1, $2) AS claimed
WHERE i.inbox_id = claimed.inbox_id
RETURNING i.inbox_id, claimed.event_count, claimed.events, i.received_at;

-- name: next_number :one
-- why: what is stored past the inbox takes its place in the order of arrival all the same
SELECT nextval(pg_get_serial_sequence('event_inbox', 'inbox_id')) AS inbox_id;

-- name: set_aside :exec
-- params: $1 inbox_id int8, $2 event_count int4, $3 events bytea, $4 received_at timestamptz, $5 error text, $6 quarantined_at timestamptz
-- why: a row that cannot land is kept whole, with the reason, out of the way of the others
INSERT INTO event_quarantine (inbox_id, event_count, events, received_at, error, quarantined_at)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: known_customers :many
-- params: $1 customer_ids text[]
-- why: the numbers of a request's customers, all at once, by customers_id_once
SELECT customer_id, customer_no
FROM customers
WHERE customer_id = ANY ($1);

-- name: known_subscriptions :many
-- params: $1 subscription_ids text[]
-- why: whose the subscriptions are that a request's events name
SELECT subscription_id, customer_no
FROM subscriptions
WHERE subscription_id = ANY ($1);
