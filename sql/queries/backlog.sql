-- name: measure :one
-- why: what is accepted and not stored, when metrics are collected; reads the rows without their events, and INGEST_BACKLOG_MAX bounds them
SELECT
    queued.row_count, queued.event_count, queued.oldest,
    (SELECT count(*) FROM event_quarantine) AS quarantined_rows
FROM (
    SELECT
        count(*) AS row_count, coalesce(sum(event_count), 0)::bigint AS event_count,
        min(received_at) AS oldest
    FROM event_inbox
) AS queued;
