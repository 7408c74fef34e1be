-- name: append :exec
-- params: $1 audit_id text, $2 at timestamptz, $3 actor text, $4 action text, $5 object_type text, $6 object_id text, $7 data jsonb
-- why: one entry, in the transaction of what it records, waiting for its seal
WITH entry AS (
    INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING audit_no
)
INSERT INTO audit_unsealed (audit_no) SELECT audit_no FROM entry;

-- name: append_many :exec
-- params: $1 audit_ids text[], $2 at timestamptz, $3 actor text, $4 action text, $5 object_type text, $6 object_ids text[], $7 data jsonb[]
-- why: the same action on many objects at once, in their order, each waiting for its seal
WITH entries AS (
    INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
    SELECT audit_id, $2, $3, $4, $5, object_id, data
    FROM unnest($1::text[], $6::text[], $7::jsonb[]) WITH ORDINALITY AS acted (
        audit_id, object_id, data, position
    )
    ORDER BY position
    RETURNING audit_no
)
INSERT INTO audit_unsealed (audit_no) SELECT audit_no FROM entries;

-- name: page :many
-- params: $1 before_no int8, $2 row_limit int8
-- why: newest first, by the primary key
SELECT audit_no, audit_id, at, actor, action, object_type, object_id, data
FROM audit_log
WHERE audit_no < $1
ORDER BY audit_no DESC
LIMIT $2;

-- name: page_of_object :many
-- params: $1 object_type text, $2 object_id text, $3 action text, $4 actor text, $5 before_no int8, $6 row_limit int8
-- why: what happened to one object, by audit_log_of_object; what else is asked sifts its entries, which are few
SELECT audit_no, audit_id, at, actor, action, object_type, object_id, data
FROM audit_log
WHERE object_type = $1 AND object_id = $2
    AND action = coalesce($3, action) AND actor = coalesce($4, actor) AND audit_no < $5
ORDER BY audit_no DESC
LIMIT $6;

-- name: page_of_action :many
-- params: $1 action text, $2 object_type text, $3 actor text, $4 before_no int8, $5 row_limit int8
-- why: by audit_log_of_action; what else is asked sifts its entries, as far as the page reaches
SELECT audit_no, audit_id, at, actor, action, object_type, object_id, data
FROM audit_log
WHERE action = $1
    AND object_type = coalesce($2, object_type) AND actor = coalesce($3, actor) AND audit_no < $4
ORDER BY audit_no DESC
LIMIT $5;

-- name: page_of_actor :many
-- params: $1 actor text, $2 object_type text, $3 before_no int8, $4 row_limit int8
-- why: by audit_log_of_actor; the type sifts its entries, as far as the page reaches
SELECT audit_no, audit_id, at, actor, action, object_type, object_id, data
FROM audit_log
WHERE actor = $1 AND object_type = coalesce($2, object_type) AND audit_no < $3
ORDER BY audit_no DESC
LIMIT $4;

-- name: page_of_type :many
-- params: $1 object_type text, $2 before_no int8, $3 row_limit int8
-- why: by audit_log_of_type
SELECT audit_no, audit_id, at, actor, action, object_type, object_id, data
FROM audit_log
WHERE object_type = $1 AND audit_no < $2
ORDER BY audit_no DESC
LIMIT $3;
