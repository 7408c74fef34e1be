-- name: make_tally :exec
-- params: $1 customer_id text, $2 feature_key text
-- why: the first time that something is reserved; who comes second finds the row there
INSERT INTO reservation_tallies (customer_no, feature_key)
SELECT customer_no, $2
FROM customers
WHERE customer_id = $1
ON CONFLICT ON CONSTRAINT reservation_tallies_pkey DO NOTHING;

-- name: lock_tally :maybe
-- params: $1 customer_id text, $2 feature_key text
-- why: the guard: everybody who reserves, commits or releases of this feature waits here until the transaction ends, and reads usage afterwards
SELECT t.customer_no, t.feature_key, t.held, t.committed, t.committed_until,
    t.decided_at
FROM customers AS c
JOIN reservation_tallies AS t ON t.customer_no = c.customer_no
WHERE c.customer_id = $1 AND t.feature_key = $2
FOR NO KEY UPDATE OF t;

-- name: lock_tally_of :maybe
-- params: $1 reservation_id text
-- why: the same guard, from the reservation, whose customer and feature never change
SELECT t.customer_no, t.feature_key, t.held, t.committed, t.committed_until,
    t.decided_at
FROM reservations AS r
JOIN reservation_tallies AS t
    ON t.customer_no = r.customer_no AND t.feature_key = r.feature_key
WHERE r.reservation_id = $1
FOR NO KEY UPDATE OF t;

-- name: expire :one
-- params: $1 customer_no int4, $2 feature_key text, $3 at timestamptz, $4 rows_max int8
-- why: under the lock; what has run out is marked before its room is given to others, so that no process whose clock is behind can still commit it; by reservations_held
WITH expired AS (
    UPDATE reservations
    SET status = 'expired', settled_at = $3
    WHERE reservation_id IN (
        SELECT reservation_id
        FROM reservations
        WHERE customer_no = $1 AND feature_key = $2 AND status = 'held' AND expires_at <= $3
        ORDER BY expires_at
        LIMIT $4
    )
    RETURNING quantity
), freed AS (
    SELECT count(*) AS row_count, sum(quantity) AS quantity FROM expired
), tallied AS (
    UPDATE reservation_tallies AS t
    SET held = t.held - freed.quantity
    FROM freed
    WHERE t.customer_no = $1 AND t.feature_key = $2 AND freed.row_count > 0
)
SELECT row_count, coalesce(quantity, 0) AS quantity FROM freed;

-- name: insert :exec
-- params: $1 reservation_id text, $2 customer_no int4, $3 feature_key text, $4 metric_nos int4[], $5 quantity numeric, $6 counts_from timestamptz, $7 expires_at timestamptz, $8 created_at timestamptz
-- why: under the lock; what is held is counted with it
WITH tallied AS (
    UPDATE reservation_tallies
    SET held = held + $5, decided_at = greatest(decided_at, $8)
    WHERE customer_no = $2 AND feature_key = $3
)
INSERT INTO reservations (
    reservation_id, customer_no, feature_key, metric_nos, quantity, counts_from, expires_at,
    created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: get :maybe
-- params: $1 reservation_id text
-- why: by the primary key; with those of its metrics that count events, whatever their values
SELECT r.reservation_id, r.customer_no, c.customer_id, r.feature_key, r.metric_nos, r.quantity,
    r.status, r.committed_quantity, r.event_id, r.counts_from, r.expires_at, r.created_at,
    r.settled_at,
    ARRAY(
        SELECT m.metric_no
        FROM metrics AS m
        WHERE m.metric_no = ANY (r.metric_nos) AND m.aggregation = 'count'
    ) AS counting_nos
FROM reservations AS r
JOIN customers AS c ON c.customer_no = r.customer_no
WHERE r.reservation_id = $1;

-- name: held :many
-- params: $1 customer_no int4, $2 at timestamptz, $3 feature_key text, $4 after_feature_key text, $5 after_expires_at timestamptz, $6 after_reservation_id text, $7 row_limit int8
-- why: what is held of a customer, or of one feature, by feature and end; by reservations_held
SELECT r.reservation_id, r.customer_no, c.customer_id, r.feature_key, r.metric_nos, r.quantity,
    r.status, r.committed_quantity, r.event_id, r.counts_from, r.expires_at, r.created_at,
    r.settled_at,
    ARRAY(
        SELECT m.metric_no
        FROM metrics AS m
        WHERE m.metric_no = ANY (r.metric_nos) AND m.aggregation = 'count'
    ) AS counting_nos
FROM reservations AS r
JOIN customers AS c ON c.customer_no = r.customer_no
WHERE r.customer_no = $1 AND r.status = 'held' AND r.expires_at > $2
    AND ($3::text IS NULL OR r.feature_key = $3)
    AND (
        $4::text IS NULL
        OR (r.feature_key, r.expires_at, r.reservation_id) > ($4, $5::timestamptz, $6::text)
    )
ORDER BY r.feature_key, r.expires_at, r.reservation_id
LIMIT $7;

-- name: settle :exec
-- params: $1 reservation_id text, $2 status text, $3 committed_quantity numeric, $4 event_id text, $5 at timestamptz, $6 counted numeric, $7 counted_until timestamptz
-- why: under the lock; what was held is free, and what was committed without an event counts on; 0 rows unless it was held
WITH settled AS (
    UPDATE reservations
    SET status = $2, committed_quantity = $3, event_id = $4, settled_at = $5
    WHERE reservation_id = $1 AND status = 'held'
    RETURNING customer_no, feature_key, quantity
)
UPDATE reservation_tallies AS t
SET held = t.held - settled.quantity,
    committed = CASE WHEN t.committed_until > $5 THEN t.committed ELSE 0 END + $6,
    committed_until = greatest(t.committed_until, $7),
    decided_at = greatest(t.decided_at, $5)
FROM settled
WHERE t.customer_no = settled.customer_no AND t.feature_key = settled.feature_key;

-- name: next_run_out :maybe
-- params: $1 at timestamptz
-- why: whose reservations have run out and were not asked for since; by reservations_running_out
SELECT reservation_id
FROM reservations
WHERE settled_at IS NULL AND expires_at <= $1
ORDER BY expires_at
LIMIT 1;

-- name: delete_settled :exec
-- params: $1 settled_before timestamptz, $2 rows_max int8
-- why: a bounded bite, by reservations_settled; what others are deleting is left to them
DELETE FROM reservations
WHERE reservation_id IN (
    SELECT reservation_id
    FROM reservations
    WHERE settled_at < $1
    ORDER BY settled_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
);
