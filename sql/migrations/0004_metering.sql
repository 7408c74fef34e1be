-- abaxus: scope mode
-- From an accepted batch to landed events and rollups (docs/decisions/0003-the-event-pipeline.md).
-- Every key leads with the customer, so that the tables can be distributed by it.

-- One row is one accepted request: its valid events, as JSON. Durable before the 202.
CREATE TABLE event_inbox (
    inbox_id    bigint      GENERATED ALWAYS AS IDENTITY,
    event_count integer     NOT NULL,
    events      bytea       NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT event_inbox_pkey PRIMARY KEY (inbox_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE event_inbox ALTER COLUMN events SET STORAGE EXTERNAL;

-- Locks and returns the oldest rows that nobody else has locked, until they add up to events_max
-- events or bytes_max bytes. A cursor locks row by row; LIMIT would count rows, not what is in them.
CREATE FUNCTION claim_inbox(events_max integer, bytes_max integer) RETURNS SETOF event_inbox
LANGUAGE plpgsql ROWS 20 AS $$
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

-- An inbox row that could not land, whole, with the reason.
CREATE TABLE event_quarantine (
    inbox_id       bigint      NOT NULL,
    event_count    integer     NOT NULL,
    events         bytea       NOT NULL,
    received_at    timestamptz NOT NULL,
    error          text        NOT NULL,
    quarantined_at timestamptz NOT NULL,
    CONSTRAINT event_quarantine_pkey PRIMARY KEY (inbox_id)
);

-- Numbers landings. A landing holds a share lock while it runs; a watermark waits for those that
-- have a number at or below it, so nothing that commits later can carry such a number.
CREATE SEQUENCE landing_numbers AS bigint;

-- Once, for ever, whatever the timestamp: this table knows no time. key_high and key_low are the
-- first 96 bits of SHA-256 over customer and idempotency key; as integers they make the smallest
-- index (docs/decisions/0011-the-key-table.md).
CREATE TABLE event_keys (
    customer_no  integer NOT NULL,
    key_high     integer NOT NULL,
    key_low      bigint  NOT NULL,
    payload_hash bigint  NOT NULL,
    CONSTRAINT event_keys_once PRIMARY KEY (customer_no, key_high, key_low)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

-- arrival_no orders events as they were accepted: the inbox row's number times 1000, plus the place
-- in it. It settles which of two events of one instant is the last, and names an event in a page.
CREATE TABLE events (
    customer_no     integer         NOT NULL,
    metric_no       integer         NOT NULL,
    occurred_at     timestamptz     NOT NULL,
    landing_no      bigint          NOT NULL,
    arrival_no      bigint          NOT NULL,
    payload_hash    bigint          NOT NULL,
    value           numeric(38, 10) NOT NULL,
    received_at     timestamptz     NOT NULL,
    idempotency_key text            NOT NULL,
    subscription_id text,
    properties      jsonb
) PARTITION BY RANGE (occurred_at);

CREATE INDEX events_customer_metric_time ON events (customer_no, metric_no, occurred_at);

-- Everything before the first month that has a partition of its own. There is no default partition:
-- attaching a month beside one would lock and scan it.
CREATE TABLE events_before_2000 PARTITION OF events
    FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00:00+00');

-- Makes the monthly partitions of the given months (first days) from 2000 on; idempotent, one caller
-- at a time. Attaching locks out neither readers of the table nor landings. A month that somebody
-- detached is attached again, with the events in it: keys and rollups still know them.
CREATE FUNCTION ensure_event_partitions(months date[]) RETURNS void
LANGUAGE plpgsql AS $$
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

-- The same key with another payload: the first won, this is what came second.
CREATE TABLE event_conflicts (
    conflict_no     bigint      GENERATED ALWAYS AS IDENTITY,
    customer_no     integer     NOT NULL,
    key_high        integer     NOT NULL,
    key_low         bigint      NOT NULL,
    payload_hash    bigint      NOT NULL,
    event           jsonb       NOT NULL,
    received_at     timestamptz NOT NULL,
    CONSTRAINT event_conflicts_pkey PRIMARY KEY (conflict_no),
    CONSTRAINT event_conflicts_once UNIQUE (customer_no, key_high, key_low, payload_hash)
);

CREATE INDEX event_conflicts_of_customer ON event_conflicts (customer_no, conflict_no);

-- Per customer, metric and UTC day, kept in the transaction that stores the events.
-- last_event: of metrics that aggregate by last, {seconds since 1970, arrival_no, value} of the
-- event that counts; arrays compare element by element, so the greater one is the later one.
-- landing_no is the last landing that touched the day. late_landing_no is the last one that did so
-- when the day was long over: the index finds what changed of old, while a day that is filled as
-- it passes changes no indexed column and is updated in place.
CREATE TABLE usage_daily (
    customer_no     integer NOT NULL,
    metric_no       integer NOT NULL,
    day             date    NOT NULL,
    event_count     bigint  NOT NULL,
    digest          numeric NOT NULL,
    value_sum       numeric NOT NULL,
    value_max       numeric NOT NULL,
    value_min       numeric NOT NULL,
    last_event      numeric[],
    landing_no      bigint  NOT NULL,
    late_landing_no bigint,
    CONSTRAINT usage_daily_pkey PRIMARY KEY (customer_no, metric_no, day)
) WITH (fillfactor = 60);

CREATE INDEX usage_daily_changes ON usage_daily (customer_no, late_landing_no)
    WHERE late_landing_no IS NOT NULL;
