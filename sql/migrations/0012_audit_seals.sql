-- abaxus: scope mode
-- The audit log in a chain of seals (docs/decisions/0013-audit-seals.md).

-- Entries that no seal covers yet: a number comes with its entry, in one statement, and goes with its
-- seal, in one transaction. So writers know nothing of the chain, and no sealer has to look back for
-- who commits late.
CREATE TABLE audit_unsealed (
    audit_no bigint NOT NULL,
    CONSTRAINT audit_unsealed_pkey PRIMARY KEY (audit_no)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Waits for whoever is writing, so that what they write is counted in, too.
LOCK TABLE audit_log IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO audit_unsealed (audit_no) SELECT audit_no FROM audit_log;

-- audit_nos ascend, entry_hashes are in their order. The primary key lets one seal follow another.
CREATE TABLE audit_seals (
    seal_no       bigint      NOT NULL,
    entry_count   integer     NOT NULL,
    audit_nos     bigint[]    NOT NULL,
    entry_hashes  bytea[]     NOT NULL,
    previous_hash bytea       NOT NULL,
    hash          bytea       NOT NULL,
    sealed_at     timestamptz NOT NULL,
    CONSTRAINT audit_seals_pkey PRIMARY KEY (seal_no),
    CONSTRAINT audit_seals_numbered CHECK (seal_no >= 1),
    CONSTRAINT audit_seals_counted CHECK (
        entry_count >= 1
        AND entry_count = cardinality(audit_nos)
        AND entry_count = cardinality(entry_hashes)
    ),
    CONSTRAINT audit_seals_sha256 CHECK (
        octet_length(previous_hash) = 32 AND octet_length(hash) = 32
    )
);

CREATE TRIGGER audit_seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER audit_seals_append_only;
