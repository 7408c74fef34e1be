-- name: append :exec
-- params: $1 audit_id text, $2 at timestamptz, $3 actor text, $4 action text, $5 object_type text, $6 object_id text, $7 data jsonb
-- why: one entry, in the transaction of what it records
INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: append_many :exec
-- params: $1 audit_ids text[], $2 at timestamptz, $3 actor text, $4 action text, $5 object_type text, $6 object_ids text[], $7 data jsonb[]
-- why: the same action on many objects at once, in their order
INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
SELECT audit_id, $2, $3, $4, $5, object_id, data
FROM unnest($1::text[], $6::text[], $7::jsonb[]) WITH ORDINALITY AS acted (
    audit_id, object_id, data, position
)
ORDER BY position;

-- name: page_of_object :many
-- params: $1 object_type text, $2 object_id text, $3 before_no int8, $4 row_limit int8
-- why: what happened to one object, newest first, by audit_log_of_object
SELECT audit_no, audit_id, at, actor, action, object_type, object_id, data
FROM audit_log
WHERE object_type = $1 AND object_id = $2 AND audit_no < $3
ORDER BY audit_no DESC
LIMIT $4;
