-- name: take_unsealed :many
-- params: $1 row_limit int8
-- why: the first entries that wait, waiting no more; what another sealer is taking is left to it, a number without its entry to whoever verifies; OFFSET 0 keeps EXISTS from becoming a merge join, which reads the log from its start
WITH taken AS (
    DELETE FROM audit_unsealed
    WHERE audit_no = ANY (ARRAY(
        SELECT u.audit_no
        FROM audit_unsealed AS u
        WHERE EXISTS (SELECT FROM audit_log AS l WHERE l.audit_no = u.audit_no OFFSET 0)
        ORDER BY u.audit_no
        LIMIT $1
        FOR UPDATE OF u SKIP LOCKED
    ))
    RETURNING audit_no
)
SELECT l.audit_no, l.audit_id, timestamptz_send(l.at) AS at, l.actor, l.action, l.object_type,
    l.object_id, l.data::text AS data
FROM taken
JOIN audit_log AS l ON l.audit_no = taken.audit_no
ORDER BY l.audit_no;

-- name: insert :exec
-- params: $1 seal_no int8, $2 audit_nos int8[], $3 entry_hashes bytea[], $4 previous_hash bytea, $5 hash bytea, $6 sealed_at timestamptz
-- why: waits for a rival with the same number, and is refused by audit_seals_pkey if it commits
INSERT INTO audit_seals (
    seal_no, entry_count, audit_nos, entry_hashes, previous_hash, hash, sealed_at
)
VALUES ($1, cardinality($2::bigint[]), $2, $3, $4, $5, $6);

-- name: head :maybe
-- why: the last seal, by the primary key
SELECT seal_no, hash
FROM audit_seals
ORDER BY seal_no DESC
LIMIT 1;

-- name: sealed_count :one
-- why: how many entries there are to check; the arrays are not read
SELECT coalesce(sum(entry_count), 0)::bigint AS entry_count
FROM audit_seals;

-- name: next_seal :maybe
-- params: $1 after_no int8, $2 last_no int8
-- why: the chain, a seal at a time, by the primary key
SELECT seal_no, entry_count, audit_nos, entry_hashes, previous_hash, hash,
    timestamptz_send(sealed_at) AS sealed_at
FROM audit_seals
WHERE seal_no > $1 AND seal_no <= $2
ORDER BY seal_no
LIMIT 1;

-- name: entries :many
-- params: $1 audit_nos int8[]
-- why: the entries that a seal covers, as they are now, by the primary key
SELECT audit_no, audit_id, timestamptz_send(at) AS at, actor, action, object_type, object_id,
    data::text AS data
FROM audit_log
WHERE audit_no = ANY ($1)
ORDER BY audit_no;

-- name: uncovered :many
-- params: $1 after_no int8, $2 row_limit int8
-- why: runs of entries that neither are sealed nor wait, in one snapshot, since a seal moves them from one to the other; reads the log once, against all seals
SELECT min(audit_no)::bigint AS first_no, max(audit_no)::bigint AS last_no,
    min(audit_id) AS audit_id
FROM (
    SELECT l.audit_no, l.audit_id, l.audit_no - row_number() OVER (ORDER BY l.audit_no) AS run
    FROM audit_log AS l
    WHERE l.audit_no > $1
        AND NOT EXISTS (SELECT FROM audit_unsealed AS u WHERE u.audit_no = l.audit_no)
        AND NOT EXISTS (
            SELECT
            FROM audit_seals AS s, unnest(s.audit_nos) AS sealed (audit_no)
            WHERE s.seal_no >= 1 AND sealed.audit_no = l.audit_no
        )
) AS entries
GROUP BY run
ORDER BY first_no
LIMIT $2;

-- name: waiting_for_nothing :many
-- params: $1 after_no int8, $2 row_limit int8
-- why: numbers that wait although there is no such entry; what waits is little
SELECT u.audit_no
FROM audit_unsealed AS u
WHERE u.audit_no > $1
    AND NOT EXISTS (SELECT FROM audit_log AS l WHERE l.audit_no = u.audit_no)
ORDER BY u.audit_no
LIMIT $2;

-- name: twins :many
-- params: $1 row_limit int8
-- why: numbers that are there more than once, which a primary key has to be dropped for; only one of a number is checked
SELECT 'seal' AS kind, seal_no AS number, count(*) AS copies
FROM audit_seals
GROUP BY seal_no
HAVING count(*) > 1
UNION ALL
SELECT 'audit entry' AS kind, audit_no AS number, count(*) AS copies
FROM audit_log
GROUP BY audit_no
HAVING count(*) > 1
ORDER BY kind, number
LIMIT $1;
