-- name: queue_depth :many
-- params: $1 rows_max bigint
-- why: what waits, runs or was given up, for /metrics
SELECT kind, state, count(*) AS jobs
FROM jobs
WHERE state IN ('available', 'running', 'discarded')
GROUP BY kind, state
ORDER BY kind, state
LIMIT $1;
