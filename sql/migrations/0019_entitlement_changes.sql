-- abaxus: scope mode
-- What has changed of what checks are answered from, so that a process may keep what it has read
-- and ask for all of it at once what is true no longer (docs/decisions/0022-kept-snapshots.md).

-- One row is what one transaction changed: documents, where metric_nos is null; else usage, of the
-- customers, metrics and days at the same places, and by how much: what is added to a sum or count, or
-- a day's greatest or least value, from which that of more days follows; null where nothing does.
-- customer_nos null: more than are worth telling apart. Rows are told by transaction, not in an order of
-- numbers: those commit in another order than they are given. Transactions are numbered anew in a server
-- that a dump is restored to, so a row says in which life of a server it was written.
CREATE TABLE entitlement_changes (
    transaction_id xid8        NOT NULL DEFAULT pg_current_xact_id(),
    server         timestamptz NOT NULL DEFAULT pg_postmaster_start_time(),
    customer_nos   integer[],
    metric_nos     integer[],
    days           date[],
    added          numeric[],
    CONSTRAINT entitlement_changes_at_the_same_places CHECK (
        CASE
            WHEN metric_nos IS NULL THEN days IS NULL AND added IS NULL
            ELSE (
                cardinality(metric_nos) = cardinality(customer_nos)
                AND cardinality(days) = cardinality(customer_nos)
                AND cardinality(added) = cardinality(customer_nos)
            ) IS TRUE
        END
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
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO entitlement_changes (customer_nos) VALUES (ARRAY[old.customer_no]);
    RETURN NULL;
END
$$;

CREATE TRIGGER entitlement_documents_tell
    AFTER UPDATE OF version OR DELETE ON entitlement_documents
    FOR EACH ROW EXECUTE FUNCTION tell_document_changed();

-- A landing tells of the days it began and of those it added to. Past so many it is all the same to a
-- process which they were.
CREATE FUNCTION tell_usage_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    told_max CONSTANT integer := 4096;
    customers integer[];
    metrics integer[];
    days date[];
    added numeric[];
BEGIN
    IF tg_op = 'INSERT' THEN
        SELECT array_agg(now_is.customer_no), array_agg(now_is.metric_no), array_agg(now_is.day),
            array_agg(CASE m.aggregation
                WHEN 'sum' THEN now_is.value_sum
                WHEN 'count' THEN now_is.event_count
                WHEN 'max' THEN now_is.value_max
                WHEN 'min' THEN now_is.value_min
            END)
        INTO customers, metrics, days, added
        FROM now_is LEFT JOIN metrics AS m USING (metric_no);
    ELSIF tg_op = 'UPDATE' THEN
        SELECT array_agg(customer_no), array_agg(metric_no), array_agg(day),
            array_agg(CASE m.aggregation
                WHEN 'sum' THEN now_is.value_sum - was.value_sum
                WHEN 'count' THEN now_is.event_count - was.event_count
                WHEN 'max' THEN CASE WHEN now_is.value_max >= was.value_max THEN now_is.value_max END
                WHEN 'min' THEN CASE WHEN now_is.value_min <= was.value_min THEN now_is.value_min END
            END)
        INTO customers, metrics, days, added
        FROM was
        FULL JOIN now_is USING (customer_no, metric_no, day)
        LEFT JOIN metrics AS m USING (metric_no);
    ELSE
        SELECT array_agg(customer_no), array_agg(metric_no), array_agg(day), array_agg(NULL::numeric)
        INTO customers, metrics, days, added
        FROM was;
    END IF;
    IF cardinality(customers) <= told_max THEN
        INSERT INTO entitlement_changes (customer_nos, metric_nos, days, added)
        VALUES (customers, metrics, days, added);
    ELSIF cardinality(customers) > told_max THEN
        INSERT INTO entitlement_changes DEFAULT VALUES;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER usage_daily_tell_begun
    AFTER INSERT ON usage_daily REFERENCING NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION tell_usage_changed();
CREATE TRIGGER usage_daily_tell_added
    AFTER UPDATE ON usage_daily REFERENCING OLD TABLE AS was NEW TABLE AS now_is
    FOR EACH STATEMENT EXECUTE FUNCTION tell_usage_changed();
CREATE TRIGGER usage_daily_tell_gone
    AFTER DELETE ON usage_daily REFERENCING OLD TABLE AS was
    FOR EACH STATEMENT EXECUTE FUNCTION tell_usage_changed();
