-- name: told :many
-- params: $1 position text, $2 rows_max int8
-- why: what changed since the snapshot at $1 (null: nothing is known yet) was taken: committed as this statement sees it, and not yet as that one did. At least one row. `whole` is false where some may be gone already, or more than rows_max transactions would have to be looked at
WITH recent AS MATERIALIZED (
    SELECT transaction_id, customer_nos, metric_nos, days, added
    FROM entitlement_changes
    WHERE transaction_id >= pg_snapshot_xmin($1::text::pg_snapshot)
    ORDER BY transaction_id
    LIMIT $2
)
SELECT
    pg_current_snapshot()::text AS position,
    pg_postmaster_start_time() AS server,
    kept.told_from <= pg_snapshot_xmin($1::text::pg_snapshot)
        AND (SELECT count(*) FROM recent) < $2 AS whole,
    changed.transaction_id IS NOT NULL AS is_change,
    changed.customer_nos, changed.metric_nos, changed.days, changed.added
FROM entitlement_changes_kept AS kept
LEFT JOIN recent AS changed
    ON NOT pg_visible_in_snapshot(changed.transaction_id, $1::text::pg_snapshot);

-- name: move_on :exec
-- why: who has not asked for what changed since the last time but one is not told any more, but that he may not be told of all
UPDATE entitlement_changes_kept
SET told_from = next_from, next_from = pg_snapshot_xmin(pg_current_snapshot());

-- name: forget :exec
-- params: $1 rows_max int8
-- why: what nobody is told any more, by entitlement_changes_by_transaction
DELETE FROM entitlement_changes
WHERE ctid = ANY (ARRAY(
    SELECT c.ctid
    FROM entitlement_changes AS c
    WHERE c.transaction_id < (SELECT told_from FROM entitlement_changes_kept)
    ORDER BY c.transaction_id
    LIMIT $1
));
