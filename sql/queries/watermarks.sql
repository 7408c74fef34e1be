-- name: last_landing :one
-- why: the newest number given to a landing, which may still run; 0 before the first
SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS landing_no
FROM landing_numbers;

-- name: await_landings :exec
-- why: returns once every landing that has a number has ended: each holds this lock, shared, from before it takes one
SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.landing', 0));

-- name: begin_landing :one
-- why: the lock first and the number second, or a watermark could miss it; the outer function call waits for the inner one's row
SELECT nextval('landing_numbers') AS landing_no
FROM pg_advisory_xact_lock_shared(hashtextextended(current_schema() || '.landing', 0));
