-- name: insert :exec
-- params: $1 bulk_run_id text, $2 cutoff timestamptz, $3 charge bool, $4 send bool, $5 actor text, $6 created_at timestamptz
-- why: a run as its caller asked for it; planning comes later
INSERT INTO bulk_runs (bulk_run_id, status, cutoff, charge, send, actor, created_at)
VALUES ($1, 'queued', $2, $3, $4, $5, $6);

-- name: get :maybe
-- params: $1 bulk_run_id text
-- why: by the primary key
SELECT bulk_run_id, status, cutoff, charge, send, actor, planned_through, planned, total, created,
    skipped, failed, error, created_at, finished_at
FROM bulk_runs
WHERE bulk_run_id = $1;

-- name: lock :maybe
-- params: $1 bulk_run_id text
-- why: one planning step at a time; a repeated one goes on from where the row says
SELECT bulk_run_id, status, cutoff, charge, send, actor, planned_through, planned, total, created,
    skipped, failed, error, created_at, finished_at
FROM bulk_runs
WHERE bulk_run_id = $1
FOR NO KEY UPDATE;

-- name: page :many
-- params: $1 before_id text, $2 row_limit int8
-- why: newest first: the ids are ULIDs, which sort by time of creation
SELECT bulk_run_id, status, cutoff, charge, send, actor, planned_through, planned, total, created,
    skipped, failed, error, created_at, finished_at
FROM bulk_runs
WHERE bulk_run_id < $1
ORDER BY bulk_run_id DESC
LIMIT $2;

-- name: failures :many
-- params: $1 bulk_run_ids text[], $2 failures_per_run int8
-- why: the first few of each run on the page, by bulk_run_customers_failed
SELECT f.bulk_run_id, c.customer_id, f.error_code, f.error_message
FROM unnest($1::text[]) AS wanted (bulk_run_id)
CROSS JOIN LATERAL (
    SELECT bulk_run_id, customer_no, error_code, error_message
    FROM bulk_run_customers
    WHERE bulk_run_id = wanted.bulk_run_id AND outcome = 'failed'
    ORDER BY customer_no
    LIMIT $2
) AS f
JOIN customers AS c ON c.customer_no = f.customer_no
ORDER BY f.bulk_run_id, f.customer_no;

-- name: plan_step :exec
-- params: $1 bulk_run_id text, $2 planned_through int4, $3 customers int4, $4 planned bool
-- why: in the transaction that enqueues the step's chunks, under the lock
UPDATE bulk_runs
SET status = 'running', planned_through = $2, total = total + $3, planned = $4
WHERE bulk_run_id = $1;

-- name: done_among :many
-- params: $1 bulk_run_id text, $2 customer_nos int4[]
-- why: which customers of a chunk an earlier try has settled, by the primary key
SELECT customer_no
FROM bulk_run_customers
WHERE bulk_run_id = $1 AND customer_no = ANY ($2);

-- name: settle_customers :exec
-- params: $1 bulk_run_id text, $2 customer_nos int4[], $3 outcomes text[], $4 invoice_ids text[], $5 error_codes text[], $6 error_messages text[]
-- why: bulk_run_customers_pkey settles a customer of a run once, in the transaction of the invoice
INSERT INTO bulk_run_customers (
    bulk_run_id, customer_no, outcome, invoice_id, error_code, error_message
)
SELECT $1, customer_no, outcome, invoice_id, error_code, error_message
FROM unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::text[]) AS settled (
    customer_no, outcome, invoice_id, error_code, error_message
)
ORDER BY customer_no;

-- name: count_settled :maybe
-- params: $1 bulk_run_id text, $2 created int4, $3 skipped int4, $4 failed int4
-- why: progress, exact because it commits with what it counts; near the end of the transaction, for the row is shared by all chunks; no row where the run has ended, so that nothing commits after its end
UPDATE bulk_runs
SET created = created + $2, skipped = skipped + $3, failed = failed + $4
WHERE bulk_run_id = $1 AND status = 'running'
RETURNING planned AND created + skipped + failed = total AS all_settled;

-- name: finish :exec
-- params: $1 bulk_run_id text, $2 finished_at timestamptz
-- why: 1 row for exactly one caller: whoever sees the last customer settled after planning ended
UPDATE bulk_runs
SET status = 'completed', finished_at = $2
WHERE bulk_run_id = $1
    AND status = 'running'
    AND planned
    AND created + skipped + failed = total;

-- name: fail :exec
-- params: $1 bulk_run_id text, $2 error text, $3 finished_at timestamptz
-- why: a run that cannot go on; 0 rows where it is finished already
UPDATE bulk_runs
SET status = 'failed', error = $2, finished_at = $3
WHERE bulk_run_id = $1 AND status IN ('queued', 'running');

-- name: cancel :exec
-- params: $1 bulk_run_id text, $2 finished_at timestamptz
-- why: waits for chunks that have counted and not committed yet; 0 rows where the run has ended already
UPDATE bulk_runs
SET status = 'cancelled', finished_at = $2
WHERE bulk_run_id = $1 AND status IN ('queued', 'running');

-- name: abandoned :many
-- params: $1 row_limit int8
-- why: unfinished runs none of whose jobs is left: they gave up or died with their workers; in one statement, for a run ends before its last job does
SELECT r.bulk_run_id
FROM bulk_runs AS r
WHERE r.status IN ('queued', 'running')
    AND NOT EXISTS (
        SELECT
        FROM jobs AS j
        WHERE j.state IN ('available', 'running')
            AND split_part(j.unique_key, ':', 1) = r.bulk_run_id
    )
ORDER BY r.bulk_run_id
LIMIT $1;
