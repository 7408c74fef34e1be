-- abaxus: scope control
-- What both modes share. Everything else lives once per mode, in abaxus_live and abaxus_test
-- (docs/decisions/0001-test-mode-is-a-schema.md).

CREATE TABLE abaxus.api_keys (
    key_id      text        NOT NULL,
    name        text        NOT NULL,
    mode        text        NOT NULL,
    scopes      text[]      NOT NULL,
    prefix      text        NOT NULL,
    key_hash    bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT api_keys_hash_once UNIQUE (key_hash),
    CONSTRAINT api_keys_mode_known CHECK (mode IN ('live', 'test')),
    CONSTRAINT api_keys_scopes_known CHECK (
        scopes <@ ARRAY['admin', 'write', 'read', 'ingest', 'entitlements'] AND cardinality(scopes) > 0
    )
);
