-- name: insert :exec
-- params: $1 key_id text, $2 name text, $3 mode text, $4 scopes text[], $5 prefix text, $6 key_hash bytea, $7 created_at timestamptz
-- why: only the hash of a key is ever stored
INSERT INTO abaxus.api_keys (key_id, name, mode, scopes, prefix, key_hash, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: find_by_hash :maybe
-- params: $1 key_hash bytea
-- why: who knocks; index api_keys_hash_once
SELECT key_id, mode, scopes
FROM abaxus.api_keys
WHERE key_hash = $1 AND revoked_at IS NULL;

-- name: get :maybe
-- params: $1 key_id text, $2 mode text
-- why: a key sees keys of its own mode only
SELECT key_id, name, mode, scopes, prefix, created_at, revoked_at
FROM abaxus.api_keys
WHERE key_id = $1 AND mode = $2;

-- name: newest :many
-- params: $1 mode text, $2 before_id text, $3 rows_max bigint
-- why: ids ascend with time; the first page starts before the greatest id there can be
SELECT key_id, name, mode, scopes, prefix, created_at, revoked_at
FROM abaxus.api_keys
WHERE mode = $1 AND key_id < $2
ORDER BY key_id DESC
LIMIT $3;

-- name: replace_secret :maybe
-- params: $1 key_id text, $2 mode text, $3 prefix text, $4 key_hash bytea
-- why: the old secret ends where the new one begins; a revoked key stays revoked
UPDATE abaxus.api_keys
SET prefix = $3, key_hash = $4
WHERE key_id = $1 AND mode = $2 AND revoked_at IS NULL
RETURNING key_id, name, mode, scopes, prefix, created_at, revoked_at;

-- name: revoke :maybe
-- params: $1 key_id text, $2 mode text, $3 revoked_at timestamptz
-- why: once; the instant of the first revocation stands
UPDATE abaxus.api_keys
SET revoked_at = $3
WHERE key_id = $1 AND mode = $2 AND revoked_at IS NULL
RETURNING key_id, name, mode, scopes, prefix, created_at, revoked_at;
