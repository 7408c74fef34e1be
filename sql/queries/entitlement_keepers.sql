-- name: renew :one
-- params: $1 keeper_id uuid
-- why: changes wait for this process from the commit of this on, until it leaves or is forgotten; one row: the life of the server that knows
INSERT INTO entitlement_keepers (keeper_id) VALUES ($1)
ON CONFLICT (keeper_id) DO UPDATE SET renewed_at = excluded.renewed_at
RETURNING pg_postmaster_start_time() AS server;

-- name: are_there_others :one
-- params: $1 keeper_id uuid
-- why: whether a change that was committed before this has to be waited out; one row
SELECT EXISTS (SELECT FROM entitlement_keepers WHERE keeper_id <> $1) AS are_there;

-- name: leave :exec
-- params: $1 keeper_id uuid
-- why: the process gives nothing any more without asking
DELETE FROM entitlement_keepers WHERE keeper_id = $1;

-- name: forget :exec
-- params: $1 age interval
-- why: processes that are gone and could not say so
DELETE FROM entitlement_keepers WHERE renewed_at < clock_timestamp() - $1::interval;
