-- name: insert :one
-- params: $1 metric_id text, $2 metric_key text, $3 name text, $4 description text, $5 aggregation text, $6 property text, $7 percentile numeric, $8 value_type text, $9 created_at timestamptz
-- why: metrics_key_once refuses a second metric of one key
INSERT INTO metrics (
    metric_id, metric_key, name, description, aggregation, property, percentile, value_type,
    created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING metric_no, metric_id, metric_key, name, description, aggregation, property, percentile,
    value_type, status, created_at;

-- name: get :maybe
-- params: $1 metric_key text
-- why: by metrics_key_once
SELECT metric_no, metric_id, metric_key, name, description, aggregation, property, percentile,
    value_type, status, created_at
FROM metrics
WHERE metric_key = $1;

-- name: lock :maybe
-- params: $1 metric_key text
-- why: a change reads, decides and writes one metric at a time; readers are not held up
SELECT metric_no, metric_id, metric_key, name, description, aggregation, property, percentile,
    value_type, status, created_at
FROM metrics
WHERE metric_key = $1
FOR NO KEY UPDATE;

-- name: find :many
-- params: $1 metric_keys text[]
-- why: all metrics that a plan names, in one round trip
SELECT metric_no, metric_id, metric_key, name, description, aggregation, property, percentile,
    value_type, status, created_at
FROM metrics
WHERE metric_key = ANY ($1);

-- name: page :many
-- params: $1 before_no int4, $2 row_limit int8
-- why: newest first; numbers are given in order of insertion, so the primary key is the keyset
SELECT metric_no, metric_id, metric_key, name, description, aggregation, property, percentile,
    value_type, status, created_at
FROM metrics
WHERE metric_no < $1
ORDER BY metric_no DESC
LIMIT $2;

-- name: update_texts :exec
-- params: $1 metric_key text, $2 name text, $3 description text
-- why: name and description are all that may change; the key and the aggregation never do
UPDATE metrics
SET name = $2, description = $3
WHERE metric_key = $1;

-- name: set_status :exec
-- params: $1 metric_key text, $2 status text
-- why: 0 rows where the metric has that status already, so that repeating changes nothing
UPDATE metrics
SET status = $2
WHERE metric_key = $1 AND status <> $2;
