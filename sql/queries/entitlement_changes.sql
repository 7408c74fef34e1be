-- name: told :many
-- params: $1 position text, $2 rows_max int8, $3 usages_max int8
-- why: what changed since the snapshot at $1 (null: nothing is known yet) was taken: committed as this statement sees it, and not yet as that one did. At least one row. Unless `whole` it is not told: some may be gone already, rows_max rows or more would have to be looked at, or more than usages_max usages told
WITH recent AS MATERIALIZED (
    SELECT customer_nos, metric_nos, days, added, first_added_at, last_added_at,
        pg_visible_in_snapshot(transaction_id, $1::text::pg_snapshot) AS is_known
    FROM entitlement_changes
    WHERE transaction_id >= pg_snapshot_xmin($1::text::pg_snapshot)
        AND server = pg_postmaster_start_time()
    ORDER BY transaction_id
    LIMIT $2
),
extent AS (
    SELECT
        kept.told_from <= pg_snapshot_xmin($1::text::pg_snapshot) AND looked.rows < $2
            AND looked.usages <= $3 AS whole
    FROM entitlement_changes_kept AS kept
    CROSS JOIN (
        SELECT count(*) AS rows,
            coalesce(sum(cardinality(metric_nos)) FILTER (WHERE NOT is_known), 0) AS usages
        FROM recent
    ) AS looked
)
SELECT
    pg_current_snapshot()::text AS position,
    pg_postmaster_start_time() AS server,
    extent.whole,
    changed.is_known IS NOT NULL AS is_change,
    changed.customer_nos, changed.metric_nos,
    changed.days, changed.added, changed.first_added_at, changed.last_added_at
FROM extent
LEFT JOIN recent AS changed ON extent.whole AND NOT changed.is_known;

-- name: move_on :exec
-- why: whoever asks from before the call before this one is told only that he cannot be told of all
UPDATE entitlement_changes_kept
SET told_from = next_from, next_from = pg_snapshot_xmin(pg_current_snapshot());

-- name: forget :exec
-- params: $1 rows_max int8
-- why: what nobody is told any more: what is too old, and what another life of the server has left
DELETE FROM entitlement_changes
WHERE ctid = ANY (ARRAY(
    SELECT c.ctid
    FROM entitlement_changes AS c
    WHERE c.transaction_id < (SELECT told_from FROM entitlement_changes_kept)
        OR c.server <> pg_postmaster_start_time()
    ORDER BY c.transaction_id
    LIMIT $1
));
