-- Generated from the migrations by `make schema`, for readers; nothing runs it.
-- abaxus_test holds the same tables as abaxus_live.

CREATE SCHEMA abaxus;

CREATE SCHEMA abaxus_live;

CREATE FUNCTION abaxus.check_event(customer_id text, metric_key text, value numeric, "timestamp" timestamp with time zone, idempotency_key text, accepted_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    missing CONSTANT text := CASE
        WHEN customer_id IS NULL THEN 'customer_id'
        WHEN metric_key IS NULL THEN 'metric_key'
        WHEN value IS NULL THEN 'value'
        WHEN "timestamp" IS NULL THEN 'timestamp'
        WHEN idempotency_key IS NULL THEN 'idempotency_key'
    END;
BEGIN
    IF missing IS NOT NULL THEN
        PERFORM abaxus.refuse_event(missing, 'must not be null', state => '22004');
    ELSIF NOT abs(value) < 1e28 THEN
        PERFORM abaxus.refuse_event(
            'value', 'must be finite, with at most 28 digits before the point'
        );
    ELSIF min_scale(value) > 10 THEN
        PERFORM abaxus.refuse_event('value', 'must have at most 10 decimals');
    ELSIF "timestamp" < TIMESTAMPTZ '1900-01-01 00:00:00+00'
        OR "timestamp" >= TIMESTAMPTZ '9000-01-01 00:00:00+00'
    THEN
        PERFORM abaxus.refuse_event('timestamp', 'must lie between the years 1900 and 9000');
    ELSIF "timestamp" > accepted_at + make_interval(hours => 24) THEN
        PERFORM abaxus.refuse_event(
            'timestamp', 'must not be more than 24 hours ahead', 'TIMESTAMP_IN_FUTURE'
        );
    ELSIF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
        PERFORM abaxus.refuse_event('idempotency_key', 'must have 1 to 255 characters');
    END IF;
END
$$;

CREATE FUNCTION abaxus.check_event_properties(given jsonb) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
    why text;
BEGIN
    IF jsonb_typeof(given) <> 'object' THEN
        why := 'must be an object';
    ELSIF (SELECT count(*) FROM jsonb_object_keys(given)) > 64 THEN
        why := 'must have at most 64 keys';
    ELSIF octet_length(given::text) > 16384 THEN
        why := 'must take at most 16384 bytes';
    ELSIF given @? 'strict $.**{34}' THEN
        why := 'must not be nested deeper than 32 levels';
    ELSIF given @? 'strict $.** ? (@ >= 1e309 || @ <= -1e309)' THEN
        why := 'must hold no number out of range';
    END IF;
    IF why IS NOT NULL THEN
        PERFORM abaxus.refuse_event('properties', why);
    END IF;
END
$_$;

CREATE FUNCTION abaxus.is_known_event(customer_no integer, digest bytea) RETURNS boolean
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM event_keys AS k
        WHERE k.customer_no = is_known_event.customer_no
            AND k.key_high = ('x' || encode(substr(digest, 1, 4), 'hex'))::bit(32)::integer
            AND k.key_low = ('x' || encode(substr(digest, 5, 8), 'hex'))::bit(64)::bigint
    );
END
$$;

CREATE FUNCTION abaxus.queue_event(customer_id text, metric_key text, value numeric, "timestamp" timestamp with time zone, idempotency_key text, properties jsonb) RETURNS text
    LANGUAGE plpgsql
    AS $$
DECLARE
    accepted_at CONSTANT timestamptz := clock_timestamp();
    given CONSTANT jsonb := nullif(properties, '{}');
    customer record;
    metric record;
    digest bytea;
BEGIN
    PERFORM abaxus.check_event(
        customer_id, metric_key, value, "timestamp", idempotency_key, accepted_at
    );
    IF given IS NOT NULL THEN
        PERFORM abaxus.check_event_properties(given);
    END IF;
    SELECT c.customer_no INTO customer
    FROM customers AS c WHERE c.customer_id = queue_event.customer_id;
    IF NOT FOUND THEN
        PERFORM abaxus.refuse_event(
            'customer_id', 'names no customer', 'CUSTOMER_NOT_FOUND', '23503'
        );
    END IF;
    SELECT m.metric_no, m.property, m.value_type, m.status INTO metric
    FROM metrics AS m WHERE m.metric_key = queue_event.metric_key;
    IF NOT FOUND THEN
        PERFORM abaxus.refuse_event('metric_key', 'names no metric', 'METRIC_NOT_FOUND', '23503');
    END IF;
    IF metric.value_type = 'integer' AND value <> trunc(value) THEN
        PERFORM abaxus.refuse_event('value', 'must be whole, as the metric asks');
    END IF;
    IF metric.property IS NOT NULL AND coalesce(given -> metric.property, 'null') = 'null' THEN
        PERFORM abaxus.refuse_event(
            'properties', 'must hold what the metric counts: ' || metric.property
        );
    END IF;
    digest := sha256(
        convert_to(customer_id, 'UTF8') || decode('00', 'hex') || convert_to(idempotency_key, 'UTF8')
    );
    IF metric.status <> 'active' AND NOT abaxus.is_known_event(customer.customer_no, digest) THEN
        PERFORM abaxus.refuse_event(
            'metric_key', 'names a metric that is deactivated', 'METRIC_INACTIVE', '55000'
        );
    END IF;
    INSERT INTO event_inbox (event_count, events, received_at)
    VALUES (
        1,
        convert_to(
            json_build_object(
                'customer_no', customer.customer_no,
                'metric_no', metric.metric_no,
                'key', encode(substr(digest, 1, 12), 'base64'),
                'occurred_us', ((extract(epoch FROM "timestamp") - 946684800) * 1000000)::bigint,
                'value', trim_scale(value)::text,
                'idempotency_key', idempotency_key,
                'properties', given
            )::text,
            'UTF8'
        ),
        accepted_at
    );
    RETURN 'evt_0' || left(encode(digest, 'hex'), 25);
END
$$;

CREATE FUNCTION abaxus.record_event(customer_id text, metric_key text, value numeric, "timestamp" timestamp with time zone, idempotency_key text, properties jsonb DEFAULT NULL::jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'abaxus_live', 'pg_temp'
    AS $$
BEGIN
    RETURN abaxus.queue_event(
        customer_id, metric_key, value, "timestamp", idempotency_key, properties
    );
END
$$;

CREATE FUNCTION abaxus.record_test_event(customer_id text, metric_key text, value numeric, "timestamp" timestamp with time zone, idempotency_key text, properties jsonb DEFAULT NULL::jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'abaxus_test', 'pg_temp'
    AS $$
BEGIN
    RETURN abaxus.queue_event(
        customer_id, metric_key, value, "timestamp", idempotency_key, properties
    );
END
$$;

CREATE FUNCTION abaxus.refuse_event(field text, why text, code text DEFAULT 'VALIDATION_FAILED'::text, state text DEFAULT '22023'::text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION USING
        MESSAGE = field || ' ' || why, DETAIL = code, COLUMN = field, ERRCODE = state;
END
$$;

CREATE TABLE abaxus_live.event_inbox (
    inbox_id bigint NOT NULL,
    event_count integer NOT NULL,
    events bytea NOT NULL,
    received_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');
ALTER TABLE ONLY abaxus_live.event_inbox ALTER COLUMN events SET STORAGE EXTERNAL;

CREATE FUNCTION abaxus_live.claim_inbox(events_max integer, bytes_max integer) RETURNS SETOF abaxus_live.event_inbox
    LANGUAGE plpgsql ROWS 20
    AS $$
DECLARE
    oldest CURSOR FOR
        SELECT * FROM event_inbox ORDER BY inbox_id FOR UPDATE SKIP LOCKED;
    claimed event_inbox;
    claimed_events integer := 0;
    claimed_bytes integer := 0;
BEGIN
    OPEN oldest;
    WHILE claimed_events < events_max AND claimed_bytes < bytes_max LOOP
        FETCH oldest INTO claimed;
        EXIT WHEN NOT FOUND;
        claimed_events := claimed_events + claimed.event_count;
        claimed_bytes := claimed_bytes + octet_length(claimed.events);
        RETURN NEXT claimed;
    END LOOP;
    CLOSE oldest;
END
$$;

CREATE FUNCTION abaxus_live.ensure_event_partitions(months date[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    month date;
    partition text;
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtextextended(current_schema() || '.ensure_event_partitions', 0)
    );
    FOREACH month IN ARRAY months LOOP
        CONTINUE WHEN month < DATE '2000-01-01';
        partition := 'events_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_inherits
            WHERE inhrelid = to_regclass(partition) AND inhparent = to_regclass('events')
        );
        IF to_regclass(partition) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', partition);
        END IF;
        EXECUTE format(
            'ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition,
            to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
            to_char(month + INTERVAL '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
        );
    END LOOP;
END
$$;

CREATE FUNCTION abaxus_live.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE FUNCTION abaxus_live.tell_document_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'abaxus_live'
    AS $$
BEGIN
    INSERT INTO entitlement_changes (customer_nos) VALUES (ARRAY[old.customer_no]);
    RETURN NULL;
END
$$;

CREATE FUNCTION abaxus_live.tell_usage_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'abaxus_live'
    AS $$
DECLARE
    told_max CONSTANT integer := 4096;
    customers integer[];
    metrics integer[];
    days date[];
    added numeric[];
    firsts timestamptz[];
    lasts timestamptz[];
BEGIN
    IF tg_op = 'INSERT' THEN
        SELECT array_agg(now_is.customer_no), array_agg(now_is.metric_no), array_agg(now_is.day),
            array_agg(CASE m.aggregation
                WHEN 'sum' THEN now_is.value_sum
                WHEN 'count' THEN now_is.event_count
                WHEN 'max' THEN now_is.value_max
                WHEN 'min' THEN now_is.value_min
            END),
            array_agg(now_is.first_added_at), array_agg(now_is.last_added_at)
        INTO customers, metrics, days, added, firsts, lasts
        FROM now_is LEFT JOIN metrics AS m USING (metric_no);
    ELSIF tg_op = 'UPDATE' THEN
        SELECT array_agg(customer_no), array_agg(metric_no), array_agg(day),
            array_agg(CASE m.aggregation
                WHEN 'sum' THEN now_is.value_sum - was.value_sum
                WHEN 'count' THEN now_is.event_count - was.event_count
                WHEN 'max' THEN CASE WHEN now_is.value_max >= was.value_max THEN now_is.value_max END
                WHEN 'min' THEN CASE WHEN now_is.value_min <= was.value_min THEN now_is.value_min END
            END),
            array_agg(CASE WHEN instants.are_new THEN now_is.first_added_at END),
            array_agg(CASE WHEN instants.are_new THEN now_is.last_added_at END)
        INTO customers, metrics, days, added, firsts, lasts
        FROM was
        FULL JOIN now_is USING (customer_no, metric_no, day)
        LEFT JOIN metrics AS m USING (metric_no)
        CROSS JOIN LATERAL (
            SELECT (now_is.first_added_at, now_is.last_added_at)
                IS DISTINCT FROM (was.first_added_at, was.last_added_at) AS are_new
        ) AS instants;
    ELSE
        SELECT array_agg(customer_no), array_agg(metric_no), array_agg(day),
            array_agg(NULL::numeric), array_agg(NULL::timestamptz), array_agg(NULL::timestamptz)
        INTO customers, metrics, days, added, firsts, lasts
        FROM was;
    END IF;
    IF cardinality(customers) <= told_max THEN
        INSERT INTO entitlement_changes
            (customer_nos, metric_nos, days, added, first_added_at, last_added_at)
        VALUES (customers, metrics, days, added, firsts, lasts);
    ELSIF cardinality(customers) > told_max THEN
        INSERT INTO entitlement_changes DEFAULT VALUES;
    END IF;
    RETURN NULL;
END
$$;

CREATE TABLE abaxus.api_keys (
    key_id text NOT NULL,
    name text NOT NULL,
    mode text NOT NULL,
    scopes text[] NOT NULL,
    prefix text NOT NULL,
    key_hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_mode_known CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
    CONSTRAINT api_keys_scopes_known CHECK (((scopes <@ ARRAY['admin'::text, 'write'::text, 'read'::text, 'ingest'::text, 'entitlements'::text]) AND (cardinality(scopes) > 0)))
);

CREATE TABLE abaxus.installation (
    installation_id uuid DEFAULT gen_random_uuid() NOT NULL,
    the_only_one boolean DEFAULT true NOT NULL,
    CONSTRAINT installation_once CHECK (the_only_one)
);

CREATE TABLE abaxus.migrations (
    number integer NOT NULL,
    name text NOT NULL,
    checksum bytea NOT NULL,
    breaking boolean NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE abaxus_live.amendments (
    amendment_id text NOT NULL,
    subscription_id text NOT NULL,
    type text NOT NULL,
    effective text NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    plan_id text,
    plan_version integer,
    prorate boolean NOT NULL,
    resume_at timestamp with time zone,
    end_at timestamp with time zone,
    reason text,
    failure text,
    applied_no integer,
    applied_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT amendments_applied_whole CHECK ((((status = 'applied'::text) = (applied_no IS NOT NULL)) AND ((status = 'applied'::text) = (applied_at IS NOT NULL)))),
    CONSTRAINT amendments_failed_with_why CHECK (((status = 'failed'::text) = (failure IS NOT NULL))),
    CONSTRAINT amendments_plan_of_a_change CHECK ((((type = 'plan_change'::text) = (plan_id IS NOT NULL)) AND ((plan_id IS NULL) = (plan_version IS NULL)))),
    CONSTRAINT amendments_status_known CHECK ((status = ANY (ARRAY['pending'::text, 'applied'::text, 'cancelled'::text, 'failed'::text]))),
    CONSTRAINT amendments_type_known CHECK ((type = ANY (ARRAY['plan_change'::text, 'pause'::text, 'resume'::text, 'cancel'::text, 'end_date_change'::text])))
);

CREATE TABLE abaxus_live.audit_log (
    audit_no bigint NOT NULL,
    audit_id text NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    object_type text NOT NULL,
    object_id text NOT NULL,
    data jsonb NOT NULL
);

ALTER TABLE abaxus_live.audit_log ALTER COLUMN audit_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME abaxus_live.audit_log_audit_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE abaxus_live.audit_seals (
    seal_no bigint NOT NULL,
    entry_count integer NOT NULL,
    audit_nos bigint[] NOT NULL,
    entry_hashes bytea[] NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    sealed_at timestamp with time zone NOT NULL,
    CONSTRAINT audit_seals_counted CHECK (((entry_count >= 1) AND (entry_count = cardinality(audit_nos)) AND (entry_count = cardinality(entry_hashes)))),
    CONSTRAINT audit_seals_numbered CHECK ((seal_no >= 1)),
    CONSTRAINT audit_seals_sha256 CHECK (((octet_length(previous_hash) = 32) AND (octet_length(hash) = 32)))
);

CREATE TABLE abaxus_live.audit_unsealed (
    audit_no bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');

CREATE TABLE abaxus_live.bulk_run_customers (
    bulk_run_id text NOT NULL,
    customer_no integer NOT NULL,
    outcome text NOT NULL,
    invoice_id text,
    error_code text,
    error_message text,
    CONSTRAINT bulk_run_customers_error_when_failed CHECK (((outcome = 'failed'::text) = (error_code IS NOT NULL))),
    CONSTRAINT bulk_run_customers_invoice_when_created CHECK (((outcome = 'created'::text) = (invoice_id IS NOT NULL))),
    CONSTRAINT bulk_run_customers_outcome_known CHECK ((outcome = ANY (ARRAY['created'::text, 'skipped'::text, 'failed'::text])))
);

CREATE TABLE abaxus_live.bulk_runs (
    bulk_run_id text NOT NULL,
    status text NOT NULL,
    cutoff timestamp with time zone NOT NULL,
    charge boolean NOT NULL,
    send boolean NOT NULL,
    actor text NOT NULL,
    planned_through integer DEFAULT 0 NOT NULL,
    planned boolean DEFAULT false NOT NULL,
    total integer DEFAULT 0 NOT NULL,
    created integer DEFAULT 0 NOT NULL,
    skipped integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    error text,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT bulk_runs_done_within_total CHECK ((((created + skipped) + failed) <= total)),
    CONSTRAINT bulk_runs_finished_when_final CHECK (((status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])) = (finished_at IS NOT NULL))),
    CONSTRAINT bulk_runs_status_known CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'completed'::text, 'failed'::text, 'cancelled'::text])))
)
WITH (fillfactor='50');

CREATE TABLE abaxus_live.calculations (
    calculation_id text NOT NULL,
    customer_no integer NOT NULL,
    customer_sequence integer NOT NULL,
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    currency text,
    total_minor numeric NOT NULL,
    line_items jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    amendments_applied bigint DEFAULT 0 NOT NULL
);

CREATE TABLE abaxus_live.counters (
    name text NOT NULL,
    value bigint NOT NULL
);

CREATE TABLE abaxus_live.customer_credits (
    invoice_id text NOT NULL,
    customer_no integer NOT NULL,
    amount_minor numeric NOT NULL,
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE abaxus_live.customers (
    customer_no integer NOT NULL,
    customer_id text NOT NULL,
    name text,
    email text,
    currency text,
    billing_provider text,
    provider_customer_id text,
    provider_payment_method text,
    metadata jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT customers_payment_method_whole CHECK (((provider_customer_id IS NULL) = (provider_payment_method IS NULL)))
);

ALTER TABLE abaxus_live.customers ALTER COLUMN customer_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME abaxus_live.customers_customer_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE abaxus_live.email_messages (
    email_id text NOT NULL,
    invoice_id text NOT NULL,
    recipient text NOT NULL,
    message jsonb NOT NULL,
    provider text NOT NULL,
    state text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    provider_message_id text,
    error text,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT email_messages_state_known CHECK ((state = ANY (ARRAY['queued'::text, 'sent'::text, 'failed'::text])))
);

CREATE TABLE abaxus_live.entitlement_changes (
    transaction_id xid8 DEFAULT pg_current_xact_id() NOT NULL,
    server timestamp with time zone DEFAULT pg_postmaster_start_time() NOT NULL,
    customer_nos integer[],
    metric_nos integer[],
    days date[],
    added numeric[],
    first_added_at timestamp with time zone[],
    last_added_at timestamp with time zone[]
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');

CREATE TABLE abaxus_live.entitlement_changes_kept (
    is_only boolean DEFAULT true NOT NULL,
    told_from xid8 NOT NULL,
    next_from xid8 NOT NULL,
    CONSTRAINT entitlement_changes_kept_only CHECK (is_only)
);

CREATE TABLE abaxus_live.entitlement_documents (
    customer_no integer NOT NULL,
    version bigint DEFAULT ((EXTRACT(epoch FROM clock_timestamp()) * (1000000)::numeric))::bigint NOT NULL,
    document jsonb
)
WITH (fillfactor='70');

CREATE TABLE abaxus_live.entitlement_keepers (
    keeper_id uuid NOT NULL,
    renewed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE abaxus_live.event_conflicts (
    conflict_no bigint NOT NULL,
    customer_no integer NOT NULL,
    key_high integer NOT NULL,
    key_low bigint NOT NULL,
    payload_hash bigint NOT NULL,
    event jsonb NOT NULL,
    received_at timestamp with time zone NOT NULL
);

ALTER TABLE abaxus_live.event_conflicts ALTER COLUMN conflict_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME abaxus_live.event_conflicts_conflict_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE abaxus_live.event_inbox ALTER COLUMN inbox_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME abaxus_live.event_inbox_inbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE abaxus_live.event_keys (
    customer_no integer NOT NULL,
    key_high integer NOT NULL,
    key_low bigint NOT NULL,
    payload_hash bigint NOT NULL
)
WITH (autovacuum_vacuum_insert_scale_factor='0.05');

CREATE TABLE abaxus_live.event_quarantine (
    inbox_id bigint NOT NULL,
    event_count integer NOT NULL,
    events bytea NOT NULL,
    received_at timestamp with time zone NOT NULL,
    error text NOT NULL,
    quarantined_at timestamp with time zone NOT NULL
);

CREATE TABLE abaxus_live.events (
    customer_no integer NOT NULL,
    metric_no integer NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    landing_no bigint NOT NULL,
    arrival_no bigint NOT NULL,
    payload_hash bigint NOT NULL,
    value numeric(38,10) NOT NULL,
    received_at timestamp with time zone NOT NULL,
    idempotency_key text NOT NULL,
    subscription_id text,
    properties jsonb
)
PARTITION BY RANGE (occurred_at);

CREATE TABLE abaxus_live.events_before_2000 (
    customer_no integer NOT NULL,
    metric_no integer NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    landing_no bigint NOT NULL,
    arrival_no bigint NOT NULL,
    payload_hash bigint NOT NULL,
    value numeric(38,10) NOT NULL,
    received_at timestamp with time zone NOT NULL,
    idempotency_key text NOT NULL,
    subscription_id text,
    properties jsonb
);

CREATE TABLE abaxus_live.idempotency_keys (
    key_id text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    status smallint,
    body bytea,
    lease_id uuid,
    leased_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    entitled text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT idempotency_keys_answered_or_leased CHECK ((((status IS NULL) = (body IS NULL)) AND ((status IS NULL) = (lease_id IS NOT NULL)) AND ((status IS NULL) = (leased_until IS NOT NULL))))
);

CREATE TABLE abaxus_live.invoice_lines (
    invoice_id text NOT NULL,
    line_no integer NOT NULL,
    kind text NOT NULL,
    description text NOT NULL,
    charge_id text,
    pricing_model text,
    metric_key text,
    subscription_id text,
    plan_id text,
    plan_version integer,
    period_start timestamp with time zone,
    period_end timestamp with time zone,
    segment_start timestamp with time zone,
    segment_end timestamp with time zone,
    window_end timestamp with time zone,
    revision integer,
    quantity numeric,
    exact_amount numeric NOT NULL,
    amount_minor numeric NOT NULL,
    owed_minor numeric,
    previously_billed_minor numeric,
    tier_breakdown jsonb,
    event_count bigint,
    digest numeric,
    watermark bigint,
    pauses jsonb DEFAULT '[]'::jsonb NOT NULL,
    step jsonb,
    CONSTRAINT invoice_lines_kind_known CHECK ((kind = ANY (ARRAY['usage'::text, 'flat_fee'::text, 'proration_credit'::text, 'proration_charge'::text, 'adjustment'::text, 'credit_applied'::text]))),
    CONSTRAINT invoice_lines_of_a_charge_whole CHECK ((((kind = 'credit_applied'::text) = (charge_id IS NULL)) AND ((charge_id IS NULL) = (subscription_id IS NULL)) AND ((charge_id IS NULL) = (period_start IS NULL)) AND ((charge_id IS NULL) = (segment_start IS NULL)) AND ((charge_id IS NULL) = (revision IS NULL)) AND ((charge_id IS NULL) = (owed_minor IS NULL)) AND ((charge_id IS NULL) = (previously_billed_minor IS NULL)))),
    CONSTRAINT invoice_lines_trued_up CHECK ((amount_minor = (owed_minor - previously_billed_minor)))
);

CREATE TABLE abaxus_live.invoices (
    invoice_id text NOT NULL,
    number bigint,
    customer_no integer NOT NULL,
    customer_sequence integer NOT NULL,
    status text NOT NULL,
    payment_status text,
    currency text NOT NULL,
    total_minor numeric NOT NULL,
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    cutoff timestamp with time zone NOT NULL,
    calculation_id text,
    archive_reason text,
    created_at timestamp with time zone NOT NULL,
    paid_at timestamp with time zone,
    archived_at timestamp with time zone,
    buyer_name text,
    buyer_email text,
    seller jsonb,
    CONSTRAINT invoices_archived_at_when_archived CHECK (((status = 'archived'::text) = (archived_at IS NOT NULL))),
    CONSTRAINT invoices_paid_at_when_paid CHECK (((status = 'paid'::text) = (paid_at IS NOT NULL))),
    CONSTRAINT invoices_payment_status_known CHECK ((payment_status = ANY (ARRAY['processing'::text, 'requires_action'::text, 'failed'::text, 'unknown'::text, 'succeeded'::text]))),
    CONSTRAINT invoices_status_known CHECK ((status = ANY (ARRAY['issued'::text, 'paid'::text, 'archived'::text]))),
    CONSTRAINT invoices_total_not_negative CHECK ((total_minor >= (0)::numeric))
);

CREATE TABLE abaxus_live.job_schedules (
    name text NOT NULL,
    last_tick timestamp with time zone NOT NULL
);

CREATE TABLE abaxus_live.jobs (
    job_id bigint NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    state text DEFAULT 'available'::text NOT NULL,
    priority smallint NOT NULL,
    due_at timestamp with time zone NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    attempts_max integer NOT NULL,
    unique_key text,
    leased_until timestamp with time zone,
    lease_id uuid,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT jobs_attempts_bounded CHECK (((attempts_max >= 1) AND (attempts_max <= 100))),
    CONSTRAINT jobs_finished_when_final CHECK (((state = ANY (ARRAY['cancelled'::text, 'discarded'::text])) = (finished_at IS NOT NULL))),
    CONSTRAINT jobs_lease_while_running CHECK ((((state = 'running'::text) = (lease_id IS NOT NULL)) AND ((lease_id IS NULL) = (leased_until IS NULL)))),
    CONSTRAINT jobs_priority_known CHECK ((priority = ANY (ARRAY[10, 100, 200]))),
    CONSTRAINT jobs_state_known CHECK ((state = ANY (ARRAY['available'::text, 'running'::text, 'cancelled'::text, 'discarded'::text])))
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');

ALTER TABLE abaxus_live.jobs ALTER COLUMN job_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME abaxus_live.jobs_job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE abaxus_live.landing_numbers
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE abaxus_live.metrics (
    metric_no integer NOT NULL,
    metric_id text NOT NULL,
    metric_key text NOT NULL,
    name text NOT NULL,
    description text,
    aggregation text NOT NULL,
    property text,
    percentile numeric(38,10),
    value_type text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT metrics_aggregation_known CHECK ((aggregation = ANY (ARRAY['sum'::text, 'count'::text, 'max'::text, 'min'::text, 'last'::text, 'unique_count'::text, 'percentile'::text]))),
    CONSTRAINT metrics_percentile_for_percentile CHECK ((((aggregation = 'percentile'::text) = (percentile IS NOT NULL)) AND ((percentile IS NULL) OR ((percentile > (0)::numeric) AND (percentile < (100)::numeric))))),
    CONSTRAINT metrics_property_for_unique_count CHECK (((aggregation = 'unique_count'::text) = (property IS NOT NULL))),
    CONSTRAINT metrics_status_known CHECK ((status = ANY (ARRAY['active'::text, 'inactive'::text]))),
    CONSTRAINT metrics_value_type_known CHECK ((value_type = ANY (ARRAY['decimal'::text, 'integer'::text])))
);

ALTER TABLE abaxus_live.metrics ALTER COLUMN metric_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME abaxus_live.metrics_metric_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE abaxus_live.payments (
    payment_id text NOT NULL,
    invoice_id text NOT NULL,
    provider text NOT NULL,
    account_fingerprint text NOT NULL,
    attempt_id uuid NOT NULL,
    idempotency_key uuid NOT NULL,
    amount_minor numeric NOT NULL,
    currency text NOT NULL,
    request jsonb NOT NULL,
    request_sha256 bytea NOT NULL,
    state text NOT NULL,
    sends integer DEFAULT 0 NOT NULL,
    maybe_executed boolean DEFAULT false NOT NULL,
    first_sent_at timestamp with time zone,
    last_sent_at timestamp with time zone,
    lease_id uuid,
    leased_until timestamp with time zone,
    next_check_at timestamp with time zone,
    checks integer DEFAULT 0 NOT NULL,
    provider_payment_id text,
    code text,
    provider_code text,
    retry text,
    outcome jsonb,
    created_at timestamp with time zone NOT NULL,
    settled_at timestamp with time zone,
    retry_at timestamp with time zone,
    CONSTRAINT payments_lease_while_sending CHECK (((state = 'sending'::text) = (lease_id IS NOT NULL))),
    CONSTRAINT payments_settled_when_final CHECK (((state = ANY (ARRAY['succeeded'::text, 'declined'::text, 'rejected'::text, 'not_charged'::text])) = (settled_at IS NOT NULL))),
    CONSTRAINT payments_state_known CHECK ((state = ANY (ARRAY['created'::text, 'sending'::text, 'transient'::text, 'unknown'::text, 'pending'::text, 'requires_action'::text, 'needs_operator'::text, 'succeeded'::text, 'declined'::text, 'rejected'::text, 'not_charged'::text])))
);

CREATE TABLE abaxus_live.price_plan_versions (
    plan_id text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    currency text NOT NULL,
    billing_interval text NOT NULL,
    billing_count integer NOT NULL,
    changelog text,
    effective_from timestamp with time zone NOT NULL,
    deprecated_at timestamp with time zone,
    charges jsonb NOT NULL,
    entitlements jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT price_plan_versions_count_bounded CHECK (((billing_count >= 1) AND (billing_count <= 366))),
    CONSTRAINT price_plan_versions_interval_known CHECK ((billing_interval = ANY (ARRAY['day'::text, 'week'::text, 'month'::text, 'year'::text])))
);

CREATE TABLE abaxus_live.price_plans (
    plan_id text NOT NULL,
    latest_version integer NOT NULL,
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE abaxus_live.reservation_tallies (
    customer_no integer NOT NULL,
    feature_key text NOT NULL,
    held numeric DEFAULT 0 NOT NULL,
    committed numeric DEFAULT 0 NOT NULL,
    committed_until timestamp with time zone,
    decided_at timestamp with time zone,
    CONSTRAINT reservation_tallies_committed_until CHECK (((committed = (0)::numeric) OR (committed_until IS NOT NULL))),
    CONSTRAINT reservation_tallies_not_negative CHECK (((held >= (0)::numeric) AND (committed >= (0)::numeric)))
)
WITH (fillfactor='50');

CREATE TABLE abaxus_live.reservations (
    reservation_id text NOT NULL,
    customer_no integer NOT NULL,
    feature_key text NOT NULL,
    metric_nos integer[] NOT NULL,
    quantity numeric(38,10) NOT NULL,
    status text DEFAULT 'held'::text NOT NULL,
    committed_quantity numeric(38,10),
    event_id text,
    counts_from timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    settled_at timestamp with time zone,
    CONSTRAINT reservations_committed_whole CHECK ((((status = 'committed'::text) = (committed_quantity IS NOT NULL)) AND ((event_id IS NULL) OR (status = 'committed'::text)))),
    CONSTRAINT reservations_committed_within CHECK (((committed_quantity > (0)::numeric) AND (committed_quantity <= quantity))),
    CONSTRAINT reservations_quantity_positive CHECK ((quantity > (0)::numeric)),
    CONSTRAINT reservations_settled_whole CHECK (((status = 'held'::text) = (settled_at IS NULL))),
    CONSTRAINT reservations_status_known CHECK ((status = ANY (ARRAY['held'::text, 'committed'::text, 'released'::text, 'expired'::text])))
);

CREATE TABLE abaxus_live.subscription_metrics (
    subscription_id text NOT NULL,
    customer_no integer NOT NULL,
    metric_no integer NOT NULL,
    during tstzrange NOT NULL
);

CREATE TABLE abaxus_live.subscriptions (
    subscription_id text NOT NULL,
    customer_no integer NOT NULL,
    plan_id text NOT NULL,
    plan_version integer NOT NULL,
    start_at timestamp with time zone NOT NULL,
    end_at timestamp with time zone,
    billed_through timestamp with time zone,
    rated_watermark bigint DEFAULT 0 NOT NULL,
    rated_on date,
    created_at timestamp with time zone NOT NULL,
    lasts_until timestamp with time zone,
    amendments_applied integer DEFAULT 0 NOT NULL,
    CONSTRAINT subscriptions_end_after_start CHECK (((end_at IS NULL) OR (end_at > start_at)))
);

CREATE TABLE abaxus_live.usage_daily (
    customer_no integer NOT NULL,
    metric_no integer NOT NULL,
    day date NOT NULL,
    event_count bigint NOT NULL,
    digest numeric NOT NULL,
    value_sum numeric NOT NULL,
    value_max numeric NOT NULL,
    value_min numeric NOT NULL,
    last_event numeric[],
    landing_no bigint NOT NULL,
    late_landing_no bigint,
    first_added_at timestamp with time zone,
    last_added_at timestamp with time zone
)
WITH (fillfactor='60');

ALTER TABLE ONLY abaxus_live.events ATTACH PARTITION abaxus_live.events_before_2000 FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00:00+00');

ALTER TABLE ONLY abaxus.api_keys
    ADD CONSTRAINT api_keys_hash_once UNIQUE (key_hash);

ALTER TABLE ONLY abaxus.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (key_id);

ALTER TABLE ONLY abaxus.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (the_only_one);

ALTER TABLE ONLY abaxus.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY abaxus_live.amendments
    ADD CONSTRAINT amendments_applied_once UNIQUE (subscription_id, applied_no);

ALTER TABLE ONLY abaxus_live.amendments
    ADD CONSTRAINT amendments_pkey PRIMARY KEY (amendment_id);

ALTER TABLE ONLY abaxus_live.audit_log
    ADD CONSTRAINT audit_log_id_once UNIQUE (audit_id);

ALTER TABLE ONLY abaxus_live.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (audit_no);

ALTER TABLE ONLY abaxus_live.audit_seals
    ADD CONSTRAINT audit_seals_pkey PRIMARY KEY (seal_no);

ALTER TABLE ONLY abaxus_live.audit_unsealed
    ADD CONSTRAINT audit_unsealed_pkey PRIMARY KEY (audit_no);

ALTER TABLE ONLY abaxus_live.bulk_run_customers
    ADD CONSTRAINT bulk_run_customers_pkey PRIMARY KEY (bulk_run_id, customer_no);

ALTER TABLE ONLY abaxus_live.bulk_runs
    ADD CONSTRAINT bulk_runs_pkey PRIMARY KEY (bulk_run_id);

ALTER TABLE ONLY abaxus_live.calculations
    ADD CONSTRAINT calculations_pkey PRIMARY KEY (calculation_id);

ALTER TABLE ONLY abaxus_live.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (name);

ALTER TABLE ONLY abaxus_live.customer_credits
    ADD CONSTRAINT customer_credits_pkey PRIMARY KEY (invoice_id);

ALTER TABLE ONLY abaxus_live.customers
    ADD CONSTRAINT customers_id_once UNIQUE (customer_id);

ALTER TABLE ONLY abaxus_live.customers
    ADD CONSTRAINT customers_pkey PRIMARY KEY (customer_no);

ALTER TABLE ONLY abaxus_live.email_messages
    ADD CONSTRAINT email_messages_pkey PRIMARY KEY (email_id);

ALTER TABLE abaxus_live.entitlement_changes
    ADD CONSTRAINT entitlement_changes_at_the_same_places CHECK (
CASE
    WHEN (metric_nos IS NULL) THEN (num_nonnulls(days, added, first_added_at, last_added_at) = 0)
    ELSE (((cardinality(metric_nos) = cardinality(customer_nos)) AND (cardinality(days) = cardinality(customer_nos)) AND (cardinality(added) = cardinality(customer_nos)) AND (cardinality(first_added_at) = cardinality(customer_nos)) AND (cardinality(last_added_at) = cardinality(customer_nos))) IS TRUE)
END) NOT VALID;

ALTER TABLE ONLY abaxus_live.entitlement_changes_kept
    ADD CONSTRAINT entitlement_changes_kept_once PRIMARY KEY (is_only);

ALTER TABLE ONLY abaxus_live.entitlement_documents
    ADD CONSTRAINT entitlement_documents_pkey PRIMARY KEY (customer_no);

ALTER TABLE ONLY abaxus_live.entitlement_keepers
    ADD CONSTRAINT entitlement_keepers_pkey PRIMARY KEY (keeper_id);

ALTER TABLE ONLY abaxus_live.event_conflicts
    ADD CONSTRAINT event_conflicts_once UNIQUE (customer_no, key_high, key_low, payload_hash);

ALTER TABLE ONLY abaxus_live.event_conflicts
    ADD CONSTRAINT event_conflicts_pkey PRIMARY KEY (conflict_no);

ALTER TABLE ONLY abaxus_live.event_inbox
    ADD CONSTRAINT event_inbox_pkey PRIMARY KEY (inbox_id);

ALTER TABLE ONLY abaxus_live.event_keys
    ADD CONSTRAINT event_keys_once PRIMARY KEY (customer_no, key_high, key_low);

ALTER TABLE ONLY abaxus_live.event_quarantine
    ADD CONSTRAINT event_quarantine_pkey PRIMARY KEY (inbox_id);

ALTER TABLE ONLY abaxus_live.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key_id, idempotency_key);

ALTER TABLE ONLY abaxus_live.invoice_lines
    ADD CONSTRAINT invoice_lines_billed_once UNIQUE (subscription_id, period_start, segment_start, charge_id, revision);

ALTER TABLE ONLY abaxus_live.invoice_lines
    ADD CONSTRAINT invoice_lines_pkey PRIMARY KEY (invoice_id, line_no);

ALTER TABLE ONLY abaxus_live.invoices
    ADD CONSTRAINT invoices_customer_sequence_once UNIQUE (customer_no, customer_sequence);

ALTER TABLE ONLY abaxus_live.invoices
    ADD CONSTRAINT invoices_number_once UNIQUE (number);

ALTER TABLE ONLY abaxus_live.invoices
    ADD CONSTRAINT invoices_pkey PRIMARY KEY (invoice_id);

ALTER TABLE ONLY abaxus_live.job_schedules
    ADD CONSTRAINT job_schedules_pkey PRIMARY KEY (name);

ALTER TABLE ONLY abaxus_live.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY abaxus_live.subscription_metrics
    ADD CONSTRAINT metric_priced_once EXCLUDE USING gist (int4range(customer_no, customer_no, '[]'::text) WITH &&, int4range(metric_no, metric_no, '[]'::text) WITH &&, during WITH &&);

ALTER TABLE ONLY abaxus_live.metrics
    ADD CONSTRAINT metrics_id_once UNIQUE (metric_id);

ALTER TABLE ONLY abaxus_live.metrics
    ADD CONSTRAINT metrics_key_once UNIQUE (metric_key);

ALTER TABLE ONLY abaxus_live.metrics
    ADD CONSTRAINT metrics_pkey PRIMARY KEY (metric_no);

ALTER TABLE ONLY abaxus_live.payments
    ADD CONSTRAINT payments_attempt_once UNIQUE (attempt_id);

ALTER TABLE ONLY abaxus_live.payments
    ADD CONSTRAINT payments_idempotency_key_once UNIQUE (idempotency_key);

ALTER TABLE ONLY abaxus_live.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (payment_id);

ALTER TABLE ONLY abaxus_live.price_plan_versions
    ADD CONSTRAINT price_plan_versions_pkey PRIMARY KEY (plan_id, version);

ALTER TABLE ONLY abaxus_live.price_plans
    ADD CONSTRAINT price_plans_pkey PRIMARY KEY (plan_id);

ALTER TABLE ONLY abaxus_live.reservation_tallies
    ADD CONSTRAINT reservation_tallies_pkey PRIMARY KEY (customer_no, feature_key);

ALTER TABLE ONLY abaxus_live.reservations
    ADD CONSTRAINT reservations_event_once UNIQUE (event_id);

ALTER TABLE ONLY abaxus_live.reservations
    ADD CONSTRAINT reservations_pkey PRIMARY KEY (reservation_id);

ALTER TABLE ONLY abaxus_live.subscription_metrics
    ADD CONSTRAINT subscription_metrics_pkey PRIMARY KEY (subscription_id, metric_no, during);

ALTER TABLE ONLY abaxus_live.subscriptions
    ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (subscription_id);

ALTER TABLE ONLY abaxus_live.usage_daily
    ADD CONSTRAINT usage_daily_pkey PRIMARY KEY (customer_no, metric_no, day);

CREATE INDEX amendments_of_subscription ON abaxus_live.amendments USING btree (subscription_id, amendment_id);

CREATE INDEX amendments_pending ON abaxus_live.amendments USING btree (effective_at) WHERE (status = 'pending'::text);

CREATE INDEX audit_log_of_action ON abaxus_live.audit_log USING btree (action, audit_no);

CREATE INDEX audit_log_of_actor ON abaxus_live.audit_log USING btree (actor, audit_no);

CREATE INDEX audit_log_of_object ON abaxus_live.audit_log USING btree (object_type, object_id, audit_no DESC);

CREATE INDEX audit_log_of_type ON abaxus_live.audit_log USING btree (object_type, audit_no);

CREATE INDEX bulk_run_customers_failed ON abaxus_live.bulk_run_customers USING btree (bulk_run_id, customer_no) WHERE (outcome = 'failed'::text);

CREATE INDEX calculations_expiry ON abaxus_live.calculations USING btree (expires_at);

CREATE INDEX customer_credits_of_customer ON abaxus_live.customer_credits USING btree (customer_no);

CREATE INDEX email_messages_of_invoice ON abaxus_live.email_messages USING btree (invoice_id, created_at DESC);

CREATE INDEX email_messages_queued ON abaxus_live.email_messages USING btree (email_id) WHERE (state = 'queued'::text);

CREATE INDEX entitlement_changes_by_transaction ON abaxus_live.entitlement_changes USING btree (transaction_id);

CREATE INDEX event_conflicts_of_customer ON abaxus_live.event_conflicts USING btree (customer_no, conflict_no);

CREATE INDEX events_customer_metric_time ON ONLY abaxus_live.events USING btree (customer_no, metric_no, occurred_at);

CREATE INDEX events_before_2000_customer_no_metric_no_occurred_at_idx ON abaxus_live.events_before_2000 USING btree (customer_no, metric_no, occurred_at);

CREATE INDEX idempotency_keys_age ON abaxus_live.idempotency_keys USING btree (created_at);

CREATE INDEX invoices_of_status ON abaxus_live.invoices USING btree (status, number);

CREATE INDEX jobs_claimable ON abaxus_live.jobs USING btree (priority, due_at, job_id) WHERE (state = 'available'::text);

CREATE INDEX jobs_finished ON abaxus_live.jobs USING btree (finished_at) WHERE (finished_at IS NOT NULL);

CREATE INDEX jobs_leases ON abaxus_live.jobs USING btree (leased_until) WHERE (state = 'running'::text);

CREATE UNIQUE INDEX jobs_unique_key ON abaxus_live.jobs USING btree (unique_key) WHERE ((unique_key IS NOT NULL) AND (state = ANY (ARRAY['available'::text, 'running'::text])));

CREATE INDEX payments_due ON abaxus_live.payments USING btree (next_check_at) WHERE (state = ANY (ARRAY['created'::text, 'sending'::text, 'transient'::text, 'unknown'::text, 'pending'::text, 'requires_action'::text]));

CREATE INDEX payments_of_invoice ON abaxus_live.payments USING btree (invoice_id, created_at DESC);

CREATE INDEX payments_of_state ON abaxus_live.payments USING btree (state, payment_id);

CREATE UNIQUE INDEX payments_one_live ON abaxus_live.payments USING btree (invoice_id) WHERE (state = ANY (ARRAY['created'::text, 'sending'::text, 'transient'::text, 'unknown'::text, 'pending'::text, 'requires_action'::text, 'needs_operator'::text]));

CREATE UNIQUE INDEX payments_one_success ON abaxus_live.payments USING btree (invoice_id) WHERE (state = 'succeeded'::text);

CREATE INDEX price_plans_newest ON abaxus_live.price_plans USING btree (created_at DESC, plan_id DESC);

CREATE INDEX reservations_held ON abaxus_live.reservations USING btree (customer_no, feature_key, expires_at) WHERE (status = 'held'::text);

CREATE INDEX reservations_running_out ON abaxus_live.reservations USING btree (expires_at) WHERE (settled_at IS NULL);

CREATE INDEX reservations_settled ON abaxus_live.reservations USING btree (settled_at) WHERE (settled_at IS NOT NULL);

CREATE INDEX subscriptions_of_customer ON abaxus_live.subscriptions USING btree (customer_no, subscription_id);

CREATE INDEX usage_daily_changes ON abaxus_live.usage_daily USING btree (customer_no, late_landing_no) WHERE (late_landing_no IS NOT NULL);

ALTER INDEX abaxus_live.events_customer_metric_time ATTACH PARTITION abaxus_live.events_before_2000_customer_no_metric_no_occurred_at_idx;

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON abaxus_live.audit_log FOR EACH STATEMENT EXECUTE FUNCTION abaxus_live.refuse_change();

ALTER TABLE abaxus_live.audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;

CREATE TRIGGER audit_seals_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON abaxus_live.audit_seals FOR EACH STATEMENT EXECUTE FUNCTION abaxus_live.refuse_change();

ALTER TABLE abaxus_live.audit_seals ENABLE ALWAYS TRIGGER audit_seals_append_only;

CREATE TRIGGER entitlement_documents_tell AFTER DELETE OR UPDATE OF version ON abaxus_live.entitlement_documents FOR EACH ROW EXECUTE FUNCTION abaxus_live.tell_document_changed();

CREATE TRIGGER usage_daily_tell_added AFTER UPDATE ON abaxus_live.usage_daily REFERENCING OLD TABLE AS was NEW TABLE AS now_is FOR EACH STATEMENT EXECUTE FUNCTION abaxus_live.tell_usage_changed();

CREATE TRIGGER usage_daily_tell_begun AFTER INSERT ON abaxus_live.usage_daily REFERENCING NEW TABLE AS now_is FOR EACH STATEMENT EXECUTE FUNCTION abaxus_live.tell_usage_changed();

CREATE TRIGGER usage_daily_tell_gone AFTER DELETE ON abaxus_live.usage_daily REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION abaxus_live.tell_usage_changed();

ALTER TABLE ONLY abaxus_live.amendments
    ADD CONSTRAINT amendments_plan FOREIGN KEY (plan_id, plan_version) REFERENCES abaxus_live.price_plan_versions(plan_id, version);

ALTER TABLE ONLY abaxus_live.amendments
    ADD CONSTRAINT amendments_subscription FOREIGN KEY (subscription_id) REFERENCES abaxus_live.subscriptions(subscription_id);

ALTER TABLE ONLY abaxus_live.bulk_run_customers
    ADD CONSTRAINT bulk_run_customers_run FOREIGN KEY (bulk_run_id) REFERENCES abaxus_live.bulk_runs(bulk_run_id);

ALTER TABLE ONLY abaxus_live.customer_credits
    ADD CONSTRAINT customer_credits_invoice FOREIGN KEY (invoice_id) REFERENCES abaxus_live.invoices(invoice_id);

ALTER TABLE ONLY abaxus_live.email_messages
    ADD CONSTRAINT email_messages_invoice FOREIGN KEY (invoice_id) REFERENCES abaxus_live.invoices(invoice_id);

ALTER TABLE ONLY abaxus_live.entitlement_documents
    ADD CONSTRAINT entitlement_documents_customer FOREIGN KEY (customer_no) REFERENCES abaxus_live.customers(customer_no);

ALTER TABLE ONLY abaxus_live.invoice_lines
    ADD CONSTRAINT invoice_lines_invoice FOREIGN KEY (invoice_id) REFERENCES abaxus_live.invoices(invoice_id);

ALTER TABLE ONLY abaxus_live.invoices
    ADD CONSTRAINT invoices_customer FOREIGN KEY (customer_no) REFERENCES abaxus_live.customers(customer_no);

ALTER TABLE ONLY abaxus_live.payments
    ADD CONSTRAINT payments_invoice FOREIGN KEY (invoice_id) REFERENCES abaxus_live.invoices(invoice_id);

ALTER TABLE ONLY abaxus_live.price_plan_versions
    ADD CONSTRAINT price_plan_versions_plan FOREIGN KEY (plan_id) REFERENCES abaxus_live.price_plans(plan_id);

ALTER TABLE ONLY abaxus_live.reservation_tallies
    ADD CONSTRAINT reservation_tallies_customer FOREIGN KEY (customer_no) REFERENCES abaxus_live.customers(customer_no);

ALTER TABLE ONLY abaxus_live.reservations
    ADD CONSTRAINT reservations_tally FOREIGN KEY (customer_no, feature_key) REFERENCES abaxus_live.reservation_tallies(customer_no, feature_key);

ALTER TABLE ONLY abaxus_live.subscription_metrics
    ADD CONSTRAINT subscription_metrics_subscription FOREIGN KEY (subscription_id) REFERENCES abaxus_live.subscriptions(subscription_id);

ALTER TABLE ONLY abaxus_live.subscriptions
    ADD CONSTRAINT subscriptions_customer FOREIGN KEY (customer_no) REFERENCES abaxus_live.customers(customer_no);

ALTER TABLE ONLY abaxus_live.subscriptions
    ADD CONSTRAINT subscriptions_plan FOREIGN KEY (plan_id, plan_version) REFERENCES abaxus_live.price_plan_versions(plan_id, version);
