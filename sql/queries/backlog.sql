-- name: measure :one
-- params: $1 rows_max int8
-- why: what is accepted and is not stored; rows of a landing that runs count until it commits; reads so many rows of each table at most, the oldest, by the primary keys
SELECT
    queued.row_count, queued.event_count, queued.oldest, queued.row_count = $1 AS at_least,
    aside.row_count AS quarantined_rows, aside.event_count AS quarantined_events
FROM (
    SELECT
        coalesce(sum(event_count), 0)::bigint AS event_count, min(received_at) AS oldest,
        count(*) AS row_count
    FROM (
        SELECT event_count, received_at FROM event_inbox ORDER BY inbox_id LIMIT $1
    ) AS oldest_rows
) AS queued
CROSS JOIN (
    SELECT count(*) AS row_count, coalesce(sum(event_count), 0)::bigint AS event_count
    FROM (SELECT event_count FROM event_quarantine ORDER BY inbox_id LIMIT $1) AS oldest_rows
) AS aside;
