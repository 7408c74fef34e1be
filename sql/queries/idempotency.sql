-- name: try_lock :one
-- params: $1 key_id text, $2 idempotency_key text
-- why: one request per key at a time, held until the transaction ends; the seed keeps these locks apart
SELECT pg_try_advisory_xact_lock(hashtextextended($1 || chr(10) || $2, 7)) AS locked;

-- name: find :maybe
-- params: $1 key_id text, $2 idempotency_key text
-- why: by primary key, under the lock of try_lock
SELECT request_hash, status, body, leased_until, entitled
FROM idempotency_keys
WHERE key_id = $1 AND idempotency_key = $2;

-- name: keep :exec
-- params: $1 key_id text, $2 idempotency_key text, $3 request_hash bytea, $4 status smallint, $5 body bytea, $6 created_at timestamptz, $7 entitled text[]
-- why: the answer, in the transaction of what it answers
INSERT INTO idempotency_keys (
    key_id, idempotency_key, request_hash, status, body, created_at, entitled
)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: lease :exec
-- params: $1 key_id text, $2 idempotency_key text, $3 request_hash bytea, $4 lease_id uuid, $5 leased_until timestamptz, $6 created_at timestamptz
-- why: a new request of several transactions, or the place of one whose process died
INSERT INTO idempotency_keys (key_id, idempotency_key, request_hash, lease_id, leased_until, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key_id, idempotency_key) DO UPDATE
SET lease_id = excluded.lease_id, leased_until = excluded.leased_until
WHERE idempotency_keys.status IS NULL;

-- name: settle :exec
-- params: $1 key_id text, $2 idempotency_key text, $3 lease_id uuid, $4 status smallint, $5 body bytea
-- why: only the holder of the lease may answer
UPDATE idempotency_keys
SET status = $4, body = $5, lease_id = NULL, leased_until = NULL
WHERE key_id = $1 AND idempotency_key = $2 AND lease_id = $3;

-- name: release :exec
-- params: $1 key_id text, $2 idempotency_key text, $3 lease_id uuid
-- why: nothing happened, so the key is free again
DELETE FROM idempotency_keys
WHERE key_id = $1 AND idempotency_key = $2 AND lease_id = $3;

-- name: prune :exec
-- params: $1 created_before timestamptz, $2 rows_max bigint
-- why: index idempotency_keys_age; bounded, so that it never holds many rows at once
DELETE FROM idempotency_keys
WHERE (key_id, idempotency_key) IN (
    SELECT key_id, idempotency_key
    FROM idempotency_keys
    WHERE created_at < $1
    ORDER BY created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
);
