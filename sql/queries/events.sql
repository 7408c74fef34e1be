-- name: ensure_partitions :exec
-- params: $1 months date[]
-- why: before a landing stores events of a month; in a transaction of its own, so that no landing waits for DDL
SELECT ensure_event_partitions($1);

-- name: land :one
-- params: $1 customer_no int4[], $2 metric_no int4[], $3 event_key uuid[], $4 payload_hash int8[], $5 occurred_at timestamptz[], $6 arrival_no int8[], $7 value text[], $8 received_at timestamptz[], $9 idempotency_key text[], $10 subscription_id text[], $11 properties text[], $12 landing_no int8
-- why: stores what is new and adds it to the rollups, keys and days each in one order for all landings, so that two never wait for each other in a circle
WITH offered AS MATERIALIZED (
    SELECT DISTINCT ON (customer_no, event_key) *
    FROM unnest(
        $1::integer[], $2::integer[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::bigint[],
        $7::text[], $8::timestamptz[], $9::text[], $10::text[], $11::text[]
    ) AS offer (
        customer_no, metric_no, event_key, payload_hash, occurred_at, arrival_no, value,
        received_at, idempotency_key, subscription_id, properties
    )
    ORDER BY customer_no, event_key, arrival_no
),
fresh AS (
    INSERT INTO event_keys (customer_no, event_key, payload_hash)
    SELECT customer_no, event_key, payload_hash
    FROM offered
    ORDER BY customer_no, event_key
    ON CONFLICT ON CONSTRAINT event_keys_once DO NOTHING
    RETURNING customer_no, event_key
),
stored AS (
    INSERT INTO events (
        customer_no, metric_no, occurred_at, landing_no, arrival_no, event_key, payload_hash,
        value, received_at, idempotency_key, subscription_id, properties
    )
    SELECT
        customer_no, metric_no, occurred_at, $12::bigint, arrival_no, event_key, payload_hash,
        value::numeric, received_at, idempotency_key, subscription_id, properties::jsonb
    FROM offered
    JOIN fresh USING (customer_no, event_key)
    ORDER BY customer_no, metric_no, occurred_at
    RETURNING customer_no, metric_no, occurred_at, arrival_no, payload_hash, value
),
changed AS (
    SELECT DISTINCT ON (customer_no, metric_no, day)
        customer_no, metric_no, day, occurred_at, arrival_no, value,
        count(*) OVER of_day AS event_count,
        sum(payload_hash) OVER of_day AS digest,
        sum(value) OVER of_day AS value_sum,
        max(value) OVER of_day AS value_max,
        min(value) OVER of_day AS value_min
    FROM stored CROSS JOIN LATERAL (SELECT (occurred_at AT TIME ZONE 'UTC')::date AS day) AS utc
    WINDOW of_day AS (PARTITION BY customer_no, metric_no, day)
    ORDER BY customer_no, metric_no, day, occurred_at DESC, arrival_no DESC
),
summed AS (
    INSERT INTO usage_daily AS u (
        customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min,
        last_value, last_occurred_at, last_arrival_no, landing_no
    )
    SELECT
        customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min,
        value, occurred_at, arrival_no, $12::bigint
    FROM changed
    ORDER BY customer_no, metric_no, day
    ON CONFLICT ON CONSTRAINT usage_daily_pkey DO UPDATE SET
        event_count = u.event_count + excluded.event_count,
        digest = u.digest + excluded.digest,
        value_sum = u.value_sum + excluded.value_sum,
        value_max = greatest(u.value_max, excluded.value_max),
        value_min = least(u.value_min, excluded.value_min),
        last_value = CASE
            WHEN (u.last_occurred_at, u.last_arrival_no)
                > (excluded.last_occurred_at, excluded.last_arrival_no)
            THEN u.last_value ELSE excluded.last_value
        END,
        last_occurred_at = greatest(u.last_occurred_at, excluded.last_occurred_at),
        last_arrival_no = CASE
            WHEN (u.last_occurred_at, u.last_arrival_no)
                > (excluded.last_occurred_at, excluded.last_arrival_no)
            THEN u.last_arrival_no ELSE excluded.last_arrival_no
        END,
        landing_no = greatest(u.landing_no, excluded.landing_no)
    RETURNING event_count
)
SELECT count(*) AS stored_count FROM fresh;

-- name: conflicting :many
-- params: $1 customer_no int4[], $2 event_key uuid[], $3 payload_hash int8[]
-- why: which of these keys are stored with another payload; after a landing, in a statement of its own, so that it sees what others landed meanwhile
SELECT offer.ordinality::integer - 1 AS place
FROM unnest($1::integer[], $2::uuid[], $3::bigint[])
    WITH ORDINALITY AS offer (customer_no, event_key, payload_hash, ordinality)
JOIN event_keys AS k ON k.customer_no = offer.customer_no AND k.event_key = offer.event_key
WHERE k.payload_hash <> offer.payload_hash
ORDER BY offer.ordinality;

-- name: known :many
-- params: $1 customer_no int4[], $2 event_key uuid[]
-- why: which keys are stored, by event_keys_once, one probe each
SELECT offer.ordinality::integer - 1 AS place, k.payload_hash
FROM unnest($1::integer[], $2::uuid[])
    WITH ORDINALITY AS offer (customer_no, event_key, ordinality)
JOIN event_keys AS k ON k.customer_no = offer.customer_no AND k.event_key = offer.event_key;

-- name: record_conflicts :exec
-- params: $1 customer_no int4[], $2 event_key uuid[], $3 payload_hash int8[], $4 event text[], $5 received_at timestamptz[]
-- why: a payload that came second is kept once; in key order, as everybody's who writes here
INSERT INTO event_conflicts (customer_no, event_key, payload_hash, event, received_at)
SELECT customer_no, event_key, payload_hash, event::jsonb, received_at
FROM unnest($1::integer[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[])
    AS came (customer_no, event_key, payload_hash, event, received_at)
ORDER BY customer_no, event_key, payload_hash
ON CONFLICT ON CONSTRAINT event_conflicts_once DO NOTHING;

-- name: aggregate_windows :many
-- params: $1 customer_no int4[], $2 metric_no int4[], $3 aggregation text[], $4 property text[], $5 percentile numeric[], $6 window_start timestamptz[], $7 window_end timestamptz[], $8 watermark int8
-- why: the exact value of every window from its raw events, in one statement, each by events_customer_metric_time; what only some aggregations need is read only for them
SELECT
    coalesce(
        CASE w.aggregation
            WHEN 'sum' THEN totals.value_sum
            WHEN 'count' THEN totals.event_count
            WHEN 'max' THEN totals.value_max
            WHEN 'min' THEN totals.value_min
            WHEN 'last' THEN (
                SELECT e.value
                FROM events AS e
                WHERE e.customer_no = w.customer_no AND e.metric_no = w.metric_no
                    AND e.occurred_at >= w.window_start AND e.occurred_at < w.window_end
                    AND e.landing_no <= $8
                ORDER BY e.occurred_at DESC, e.arrival_no DESC
                LIMIT 1
            )
            WHEN 'unique_count' THEN (
                SELECT count(DISTINCT e.properties ->> w.property)
                FROM events AS e
                WHERE e.customer_no = w.customer_no AND e.metric_no = w.metric_no
                    AND e.occurred_at >= w.window_start AND e.occurred_at < w.window_end
                    AND e.landing_no <= $8
            )
            WHEN 'percentile' THEN (
                SELECT round(
                    min(around.value) + (max(around.value) - min(around.value))
                        * (totals.percentile_rank - floor(totals.percentile_rank)),
                    10
                )
                FROM (
                    SELECT e.value
                    FROM events AS e
                    WHERE e.customer_no = w.customer_no AND e.metric_no = w.metric_no
                        AND e.occurred_at >= w.window_start AND e.occurred_at < w.window_end
                        AND e.landing_no <= $8
                    ORDER BY e.value
                    LIMIT 2 OFFSET floor(totals.percentile_rank)::bigint
                ) AS around
            )
        END,
        0
    ) AS value,
    totals.event_count,
    totals.digest
FROM unnest(
    $1::integer[], $2::integer[], $3::text[], $4::text[], $5::numeric[], $6::timestamptz[],
    $7::timestamptz[]
) WITH ORDINALITY AS w (
    customer_no, metric_no, aggregation, property, percentile, window_start, window_end, place
)
CROSS JOIN LATERAL (
    SELECT
        count(*) AS event_count,
        coalesce(sum(e.payload_hash), 0) AS digest,
        sum(e.value) AS value_sum,
        max(e.value) AS value_max,
        min(e.value) AS value_min,
        greatest(w.percentile * 0.01 * (count(*) - 1), 0) AS percentile_rank
    FROM events AS e
    WHERE e.customer_no = w.customer_no AND e.metric_no = w.metric_no
        AND e.occurred_at >= w.window_start AND e.occurred_at < w.window_end
        AND e.landing_no <= $8
) AS totals
ORDER BY w.place;

-- name: count_late :one
-- params: $1 customer_no int4, $2 metric_no int4, $3 window_start timestamptz, $4 window_end timestamptz, $5 watermark int8
-- why: events of the window that were accepted after its end; by events_customer_metric_time
SELECT count(*) AS event_count
FROM events
WHERE customer_no = $1 AND metric_no = $2 AND occurred_at >= $3 AND occurred_at < $4
    AND landing_no <= $5 AND received_at >= $4;

-- name: page :many
-- params: $1 customer_no int4, $2 metric_key text, $3 window_start timestamptz, $4 window_end timestamptz, $5 before_at timestamptz, $6 before_key uuid, $7 row_limit int8
-- why: newest first; each metric is read by events_customer_metric_time as far as the page reaches, then merged
SELECT
    m.metric_key, found.event_key, found.value, found.occurred_at, found.idempotency_key,
    found.subscription_id, found.properties, found.received_at
FROM metrics AS m
CROSS JOIN LATERAL (
    SELECT
        e.event_key, e.value, e.occurred_at, e.idempotency_key, e.subscription_id, e.properties,
        e.received_at
    FROM events AS e
    WHERE e.customer_no = $1 AND e.metric_no = m.metric_no
        AND e.occurred_at >= $3 AND e.occurred_at < $4
        AND e.occurred_at <= $5 AND (e.occurred_at, e.event_key) < ($5, $6)
    ORDER BY e.occurred_at DESC, e.event_key DESC
    LIMIT $7
) AS found
WHERE m.metric_key = coalesce($2, m.metric_key)
ORDER BY found.occurred_at DESC, found.event_key DESC
LIMIT $7;
