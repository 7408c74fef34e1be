-- abaxus: scope mode
-- What has changed of what checks are answered from, so that a process may keep what it has read
-- and ask for all of it at once what is true no longer (docs/decisions/0022-kept-snapshots.md).

-- One row is what one transaction changed: documents, where metric_nos is null; else usage, of the
-- customers and metrics at the same places. customer_nos null: more than are worth telling apart.
-- Rows are told by transaction, not in an order of numbers: those commit in another order than they
-- are given.
CREATE TABLE entitlement_changes (
    transaction_id xid8      NOT NULL DEFAULT pg_current_xact_id(),
    customer_nos   integer[],
    metric_nos     integer[],
    CONSTRAINT entitlement_changes_in_pairs CHECK (
        metric_nos IS NULL OR cardinality(metric_nos) = cardinality(customer_nos)
    )
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX entitlement_changes_by_transaction ON entitlement_changes (transaction_id);

-- Every transaction that is told for good is at or above told_from; what is below may be gone.
-- next_from is where told_from goes next.
CREATE TABLE entitlement_changes_kept (
    is_only   boolean NOT NULL DEFAULT true,
    told_from xid8    NOT NULL,
    next_from xid8    NOT NULL,
    CONSTRAINT entitlement_changes_kept_once PRIMARY KEY (is_only),
    CONSTRAINT entitlement_changes_kept_only CHECK (is_only)
);

INSERT INTO entitlement_changes_kept (told_from, next_from)
VALUES (pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmin(pg_current_snapshot()));

-- Whoever changes a document, by hand too, raises its version, and tells by it.
CREATE FUNCTION tell_document_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'INSERT INTO %I.entitlement_changes (customer_nos) VALUES (ARRAY[$1])', tg_table_schema
    ) USING old.customer_no;
    RETURN NULL;
END
$$;

CREATE TRIGGER entitlement_documents_tell
    AFTER UPDATE OF version OR DELETE ON entitlement_documents
    FOR EACH ROW EXECUTE FUNCTION tell_document_changed();

-- A landing tells of the days it began and of those it added to. Past so many
-- customers and metrics it is all the same to a process which they were.
CREATE FUNCTION tell_usage_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    told_max CONSTANT integer := 4096;
    customers integer[];
    metrics integer[];
BEGIN
    SELECT array_agg(customer_no), array_agg(metric_no) INTO customers, metrics FROM touched;
    IF cardinality(customers) > told_max THEN
        customers := NULL;
        metrics := NULL;
    ELSIF customers IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'INSERT INTO %I.entitlement_changes (customer_nos, metric_nos) VALUES ($1, $2)',
        tg_table_schema
    ) USING customers, metrics;
    RETURN NULL;
END
$$;

CREATE TRIGGER usage_daily_tell_begun
    AFTER INSERT ON usage_daily REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION tell_usage_changed();
CREATE TRIGGER usage_daily_tell_added
    AFTER UPDATE ON usage_daily REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION tell_usage_changed();
CREATE TRIGGER usage_daily_tell_gone
    AFTER DELETE ON usage_daily REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION tell_usage_changed();
