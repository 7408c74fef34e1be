-- name: page :many
-- params: $1 after_id int8, $2 row_limit int8
-- why: what was set aside, oldest first, by event_quarantine_pkey; without the events
SELECT inbox_id, event_count, received_at, quarantined_at, error
FROM event_quarantine
WHERE inbox_id > $1
ORDER BY inbox_id
LIMIT $2;

-- name: take :maybe
-- params: $1 inbox_id int8
-- why: one row, for the transaction that lands it or sets it aside again; somebody else's waits here and then finds none
DELETE FROM event_quarantine
WHERE inbox_id = $1
RETURNING inbox_id, event_count, events, received_at;
