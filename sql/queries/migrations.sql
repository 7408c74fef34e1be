-- name: lock :exec
-- params: $1 key bigint
-- why: one migrator at a time; held by the session, because some migrations allow no transaction
SELECT pg_advisory_lock($1);

-- name: unlock :exec
-- params: $1 key bigint
-- why: lets the next migrator look; a lost session lets go by itself
SELECT pg_advisory_unlock($1);

-- name: create_control_schema :exec
-- why: before the first migration there is nowhere to record it
CREATE SCHEMA IF NOT EXISTS abaxus;

-- name: create_live_schema :exec
-- why: the tables of live mode
CREATE SCHEMA IF NOT EXISTS abaxus_live;

-- name: create_test_schema :exec
-- why: the same tables once more, for test mode
CREATE SCHEMA IF NOT EXISTS abaxus_test;

-- name: create_record :exec
-- why: what has been applied, with the checksum it had
CREATE TABLE IF NOT EXISTS abaxus.migrations (
    number     integer     NOT NULL,
    name       text        NOT NULL,
    checksum   bytea       NOT NULL,
    breaking   boolean     NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT migrations_pkey PRIMARY KEY (number)
);

-- name: is_recorded :one
-- why: a database that was never migrated has no table to ask
SELECT to_regclass('abaxus.migrations') IS NOT NULL AS present;

-- name: applied :many
-- why: all of them; there are as many as files
SELECT number, name, checksum, breaking FROM abaxus.migrations ORDER BY number;

-- name: record :exec
-- params: $1 number integer, $2 name text, $3 checksum bytea, $4 breaking boolean
-- why: in the transaction of the migration itself, where it has one
INSERT INTO abaxus.migrations (number, name, checksum, breaking) VALUES ($1, $2, $3, $4);

-- name: set_search_path :exec
-- params: $1 schema text, $2 local boolean
-- why: a file of scope mode names its tables bare and runs once per schema
SELECT set_config('search_path', $1, $2);

-- name: set_lock_timeout :exec
-- params: $1 milliseconds text
-- why: a migration that waits for a lock makes everyone behind it wait
SELECT set_config('lock_timeout', $1, true);

-- name: invalid_indexes :many
-- params: $1 schemas text[]
-- why: CREATE INDEX CONCURRENTLY that failed leaves one behind, and IF NOT EXISTS then passes over it
SELECT index_relation.relname::text AS name
FROM pg_index
JOIN pg_class AS index_relation ON index_relation.oid = pg_index.indexrelid
JOIN pg_namespace ON pg_namespace.oid = index_relation.relnamespace
WHERE NOT pg_index.indisvalid AND pg_namespace.nspname = ANY ($1::text[])
ORDER BY index_relation.relname;
