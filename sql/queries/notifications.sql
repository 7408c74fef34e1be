-- name: notify :exec
-- params: $1 channels text[], $2 payloads text[]
-- why: everything that waited, in one commit; beside the writers, whose commits it must not queue up
SELECT pg_notify(waiting.channel, waiting.payload)
FROM unnest($1::text[], $2::text[]) AS waiting (channel, payload);

-- name: heartbeat :one
-- why: a listener that hears nothing cannot tell silence from a cut wire
SELECT 1 AS alive;
