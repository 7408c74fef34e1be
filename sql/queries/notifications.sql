-- name: notify :exec
-- params: $1 channels text[], $2 payloads text[]
-- why: everything that waited, in one commit; beside the writers, whose commits it must not queue up
SELECT pg_notify(waiting.channel, waiting.payload)
FROM unnest($1::text[], $2::text[]) AS waiting (channel, payload);

-- name: notify_with_commit :exec
-- params: $1 topic text, $2 payload text
-- why: heard once the transaction around it has committed, whatever becomes of who committed it; all that do so commit one after the other, so only for what changes rarely
SELECT pg_notify(current_schema() || '.' || $1, $2);

-- name: heartbeat :one
-- why: a listener that hears nothing cannot tell silence from a cut wire
SELECT 1 AS alive;
