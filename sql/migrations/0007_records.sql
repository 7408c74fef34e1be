-- abaxus: scope mode
-- What happened, append-only; and answers kept for callers who ask twice.

CREATE TABLE audit_log (
    audit_no    bigint      GENERATED ALWAYS AS IDENTITY,
    audit_id    text        NOT NULL,
    at          timestamptz NOT NULL,
    actor       text        NOT NULL,
    action      text        NOT NULL,
    object_type text        NOT NULL,
    object_id   text        NOT NULL,
    data        jsonb       NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (audit_no),
    CONSTRAINT audit_log_id_once UNIQUE (audit_id)
);
CREATE INDEX audit_log_of_object ON audit_log (object_type, object_id, audit_no DESC);

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;

-- A caller's key, what it asked for and what it was told; kept 7 days. Without an answer yet, the
-- row is a lease: a request of several transactions is under way, or its process has died.
CREATE TABLE idempotency_keys (
    key_id          text        NOT NULL,
    idempotency_key text        NOT NULL,
    request_hash    bytea       NOT NULL,
    status          smallint,
    body            bytea,
    lease_id        uuid,
    leased_until    timestamptz,
    created_at      timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key_id, idempotency_key),
    CONSTRAINT idempotency_keys_answered_or_leased CHECK (
        (status IS NULL) = (body IS NULL)
        AND (status IS NULL) = (lease_id IS NOT NULL)
        AND (status IS NULL) = (leased_until IS NOT NULL)
    )
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
