-- name: append :exec
-- params: $1 audit_id text, $2 at timestamptz, $3 actor text, $4 action text, $5 object_type text, $6 object_id text, $7 data jsonb
-- why: one entry, in the transaction of what it records
INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
VALUES ($1, $2, $3, $4, $5, $6, $7);
