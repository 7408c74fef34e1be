-- name: ensure_partitions :exec
-- params: $1 months date[]
-- why: before a landing stores events of a month; in a transaction of its own, so that no landing waits for DDL
SELECT ensure_event_partitions($1);

-- name: record_conflicts :exec
-- params: $1 customer_no int4[], $2 key_high int4[], $3 key_low int8[], $4 payload_hash int8[], $5 event text[], $6 received_at timestamptz[]
-- why: a payload that came second is kept once; in key order, as everybody's who writes here
INSERT INTO event_conflicts (customer_no, key_high, key_low, payload_hash, event, received_at)
SELECT customer_no, key_high, key_low, payload_hash, event::jsonb, received_at
FROM unnest(
    $1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::timestamptz[]
) AS came (customer_no, key_high, key_low, payload_hash, event, received_at)
ORDER BY customer_no, key_high, key_low, payload_hash
ON CONFLICT ON CONSTRAINT event_conflicts_once DO NOTHING;

-- name: aggregate_windows :many
-- params: $1 customer_no int4[], $2 metric_no int4[], $3 aggregation text[], $4 property text[], $5 percentile numeric[], $6 window_start timestamptz[], $7 window_end timestamptz[], $8 pauses text[], $9 watermark int8[]
-- why: the exact value of every window from its raw events up to its watermark, in one statement, each by events_customer_metric_time; what only some aggregations need is read only for them
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
                    AND e.landing_no <= w.watermark
                    AND (w.pauses IS NULL OR NOT e.occurred_at <@ w.pauses::tstzmultirange)
                ORDER BY e.occurred_at DESC, e.arrival_no DESC
                LIMIT 1
            )
            WHEN 'unique_count' THEN (
                SELECT count(DISTINCT e.properties ->> w.property)
                FROM events AS e
                WHERE e.customer_no = w.customer_no AND e.metric_no = w.metric_no
                    AND e.occurred_at >= w.window_start AND e.occurred_at < w.window_end
                    AND e.landing_no <= w.watermark
                    AND (w.pauses IS NULL OR NOT e.occurred_at <@ w.pauses::tstzmultirange)
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
                        AND e.landing_no <= w.watermark
                        AND (w.pauses IS NULL OR NOT e.occurred_at <@ w.pauses::tstzmultirange)
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
    $7::timestamptz[], $8::text[], $9::bigint[]
) WITH ORDINALITY AS w (
    customer_no, metric_no, aggregation, property, percentile, window_start, window_end, pauses,
    watermark, place
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
        AND e.landing_no <= w.watermark
        AND (w.pauses IS NULL OR NOT e.occurred_at <@ w.pauses::tstzmultirange)
) AS totals
ORDER BY w.place;

-- name: aggregate_recent :many
-- params: $1 customer_no int4[], $2 metric_no int4[], $3 aggregation text[], $4 window_start timestamptz[], $5 window_end timestamptz[], $6 earliest timestamptz, $7 latest timestamptz, $8 row_limit int8
-- why: additive aggregations of short windows, each by events_customer_metric_time and of no more than row_limit events, so that it takes no long time whatever was sent; all windows lie in [earliest, latest), by which other months' partitions are left out when it is planned, not for each window when it runs
SELECT recent.value, recent.event_count, recent.digest
FROM (
    SELECT customer_no, metric_no, aggregation, window_start, window_end, place
    FROM unnest(
        $1::integer[], $2::integer[], $3::text[], $4::timestamptz[], $5::timestamptz[]
    ) WITH ORDINALITY AS asked (
        customer_no, metric_no, aggregation, window_start, window_end, place
    )
    OFFSET 0
) AS w
CROSS JOIN LATERAL (
    SELECT
        coalesce(
            CASE w.aggregation
                WHEN 'sum' THEN sum(found.value)
                WHEN 'count' THEN count(*)
                WHEN 'max' THEN max(found.value)
                WHEN 'min' THEN min(found.value)
                WHEN 'last' THEN (
                    max(ARRAY[
                        extract(epoch FROM found.occurred_at), found.arrival_no::numeric, found.value
                    ]) FILTER (WHERE w.aggregation = 'last')
                )[3]
            END,
            0
        ) AS value,
        count(*) AS event_count,
        coalesce(sum(found.payload_hash), 0) AS digest
    FROM (
        SELECT e.payload_hash, e.value, e.occurred_at, e.arrival_no
        FROM events AS e
        WHERE e.customer_no = w.customer_no AND e.metric_no = w.metric_no
            AND e.occurred_at >= w.window_start AND e.occurred_at < w.window_end
            AND e.occurred_at >= $6::timestamptz AND e.occurred_at < $7::timestamptz
        LIMIT $8
    ) AS found
) AS recent
ORDER BY w.place;

-- name: aggregate_groups :many
-- params: $1 customer_no int4, $2 metric_no int4, $3 aggregation text, $4 property text, $5 percentile numeric, $6 window_start timestamptz, $7 window_end timestamptz, $8 group_by text, $9 row_limit int8
-- why: the exact value of each group of a window's events, the greatest groups first; reads the window once, by events_customer_metric_time, in the one branch that its aggregation needs
WITH used AS NOT MATERIALIZED (
    SELECT
        e.properties ->> $8 AS group_name, e.properties ->> $4 AS property_text, e.value,
        e.occurred_at, e.arrival_no
    FROM events AS e
    WHERE e.customer_no = $1 AND e.metric_no = $2 AND e.occurred_at >= $6 AND e.occurred_at < $7
)
SELECT found.group_name, found.value, found.event_count
FROM (
    SELECT
        u.group_name,
        CASE $3
            WHEN 'sum' THEN sum(u.value)
            WHEN 'count' THEN count(*)
            WHEN 'max' THEN max(u.value)
            WHEN 'min' THEN min(u.value)
            ELSE (
                max(ARRAY[extract(epoch FROM u.occurred_at), u.arrival_no::numeric, u.value])
                    FILTER (WHERE $3 = 'last')
            )[3]
        END AS value,
        count(*) AS event_count
    FROM used AS u
    WHERE $3 IN ('sum', 'count', 'max', 'min', 'last')
    GROUP BY u.group_name
    UNION ALL
    SELECT pair.group_name, count(pair.property_text), sum(pair.event_count)::bigint
    FROM (
        SELECT u.group_name, u.property_text, count(*) AS event_count
        FROM used AS u
        WHERE $3 = 'unique_count'
        GROUP BY u.group_name, u.property_text
    ) AS pair
    GROUP BY pair.group_name
    UNION ALL
    SELECT
        ranked.group_name,
        round(
            min(ranked.value)
                + (max(ranked.value) - min(ranked.value)) * (ranked.rank - floor(ranked.rank)),
            10
        ),
        ranked.event_count
    FROM (
        SELECT
            u.group_name, u.value,
            row_number() OVER (PARTITION BY u.group_name ORDER BY u.value) - 1 AS place,
            count(*) OVER (PARTITION BY u.group_name) AS event_count,
            $5 * 0.01 * (count(*) OVER (PARTITION BY u.group_name) - 1) AS rank
        FROM used AS u
        WHERE $3 = 'percentile'
    ) AS ranked
    WHERE ranked.place IN (floor(ranked.rank), floor(ranked.rank) + 1)
    GROUP BY ranked.group_name, ranked.event_count, ranked.rank
) AS found
ORDER BY found.event_count DESC, found.group_name COLLATE "C" NULLS FIRST
LIMIT $9;

-- name: count_late :one
-- params: $1 customer_no int4, $2 metric_no int4, $3 window_start timestamptz, $4 window_end timestamptz, $5 watermark int8
-- why: events of the window that were accepted after its end; by events_customer_metric_time
SELECT count(*) AS event_count
FROM events
WHERE customer_no = $1 AND metric_no = $2 AND occurred_at >= $3 AND occurred_at < $4
    AND landing_no <= $5 AND received_at >= $4;

-- name: page :many
-- params: $1 customer_no int4, $2 metric_key text, $3 window_start timestamptz, $4 window_end timestamptz, $5 before_at timestamptz, $6 before_no int8, $7 row_limit int8
-- why: newest first; each metric is read by events_customer_metric_time as far as the page reaches, then merged
SELECT
    m.metric_key, found.arrival_no, found.value, found.occurred_at, found.idempotency_key,
    found.subscription_id, found.properties, found.received_at
FROM metrics AS m
CROSS JOIN LATERAL (
    SELECT
        e.arrival_no, e.value, e.occurred_at, e.idempotency_key, e.subscription_id, e.properties,
        e.received_at
    FROM events AS e
    WHERE e.customer_no = $1 AND e.metric_no = m.metric_no
        AND e.occurred_at >= $3 AND e.occurred_at < $4
        AND e.occurred_at <= $5 AND (e.occurred_at, e.arrival_no) < ($5, $6)
    ORDER BY e.occurred_at DESC, e.arrival_no DESC
    LIMIT $7
) AS found
WHERE m.metric_key = coalesce($2, m.metric_key)
ORDER BY found.occurred_at DESC, found.arrival_no DESC
LIMIT $7;

-- name: page_of_line :many
-- params: $1 customer_no int4, $2 metric_key text, $3 window_start timestamptz, $4 window_end timestamptz, $5 pauses text, $6 watermark int8, $7 before_at timestamptz, $8 before_no int8, $9 row_limit int8
-- why: what aggregate_windows counts for a line, newest first, by events_customer_metric_time as far as the page reaches
SELECT
    m.metric_key, e.arrival_no, e.value, e.occurred_at, e.idempotency_key, e.subscription_id,
    e.properties, e.received_at
FROM metrics AS m
CROSS JOIN LATERAL (
    SELECT
        arrival_no, value, occurred_at, idempotency_key, subscription_id, properties, received_at
    FROM events
    WHERE customer_no = $1 AND metric_no = m.metric_no
        AND occurred_at >= $3 AND occurred_at < $4
        AND landing_no <= $6
        AND ($5::text IS NULL OR NOT occurred_at <@ $5::tstzmultirange)
        AND occurred_at <= $7 AND (occurred_at, arrival_no) < ($7, $8)
    ORDER BY occurred_at DESC, arrival_no DESC
    LIMIT $9
) AS e
WHERE m.metric_key = $2
ORDER BY e.occurred_at DESC, e.arrival_no DESC;
