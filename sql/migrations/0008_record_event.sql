-- abaxus: scope control
-- Usage recorded inside an application's own transaction: its business row and its billable event
-- commit together, or neither does (docs/recording.md). A role needs USAGE on this schema and
-- EXECUTE on one of the two public functions, and nothing else.

-- Raises what every refusal has: the field in the message and as the column, the API's code as the
-- detail.
CREATE FUNCTION abaxus.refuse_event(
    field text, why text, code text DEFAULT 'VALIDATION_FAILED', state text DEFAULT '22023'
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        MESSAGE = field || ' ' || why, DETAIL = code, COLUMN = field, ERRCODE = state;
END
$$;

-- Queues one event in the mode that the search path names, and returns its id; as domain/events.py
-- checks and domain/digest.py names it. No literal holds a backslash and no instant is spelt by
-- the session: what the caller has set changes nothing.
CREATE FUNCTION abaxus.queue_event(
    customer_id text,
    metric_key text,
    value numeric,
    "timestamp" timestamptz,
    idempotency_key text,
    properties jsonb
) RETURNS text
LANGUAGE plpgsql AS $$
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

-- Refuses what no metric of any customer would take.
CREATE FUNCTION abaxus.check_event(
    customer_id text,
    metric_key text,
    value numeric,
    "timestamp" timestamptz,
    idempotency_key text,
    accepted_at timestamptz
) RETURNS void
LANGUAGE plpgsql AS $$
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

-- Refuses properties that the API would refuse: no object, too many, too long, nested too deeply
-- or with a number beyond the range of a double.
CREATE FUNCTION abaxus.check_event_properties(given jsonb) RETURNS void
LANGUAGE plpgsql AS $$
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
$$;

-- Whether an event has landed: a replay is taken whatever has become of its metric.
CREATE FUNCTION abaxus.is_known_event(customer_no integer, digest bytea) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM event_keys AS k
        WHERE k.customer_no = is_known_event.customer_no
            AND k.key_high = ('x' || encode(substr(digest, 1, 4), 'hex'))::bit(32)::integer
            AND k.key_low = ('x' || encode(substr(digest, 5, 8), 'hex'))::bit(64)::bigint
    );
END
$$;

CREATE FUNCTION abaxus.record_event(
    customer_id text,
    metric_key text,
    value numeric,
    "timestamp" timestamptz,
    idempotency_key text,
    properties jsonb DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, abaxus_live, pg_temp AS $$
BEGIN
    RETURN abaxus.queue_event(
        customer_id, metric_key, value, "timestamp", idempotency_key, properties
    );
END
$$;

CREATE FUNCTION abaxus.record_test_event(
    customer_id text,
    metric_key text,
    value numeric,
    "timestamp" timestamptz,
    idempotency_key text,
    properties jsonb DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, abaxus_test, pg_temp AS $$
BEGIN
    RETURN abaxus.queue_event(
        customer_id, metric_key, value, "timestamp", idempotency_key, properties
    );
END
$$;

REVOKE ALL ON FUNCTION
    abaxus.refuse_event,
    abaxus.queue_event,
    abaxus.check_event,
    abaxus.check_event_properties,
    abaxus.is_known_event,
    abaxus.record_event,
    abaxus.record_test_event
FROM PUBLIC;
