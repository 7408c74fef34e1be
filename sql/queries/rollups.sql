-- name: total_windows :many
-- params: $1 customer_no int4[], $2 metric_no int4[], $3 aggregation text[], $4 window_start timestamptz[], $5 window_end timestamptz[], $6 first_day date[], $7 after_day date[]
-- why: additive aggregations of many windows in one statement: the whole days from the rollups, by their primary key, what is left of the window at both edges from raw events
SELECT
    coalesce(
        CASE w.aggregation
            WHEN 'sum' THEN totals.value_sum
            WHEN 'count' THEN totals.event_count
            WHEN 'max' THEN totals.value_max
            WHEN 'min' THEN totals.value_min
            WHEN 'last' THEN totals.last_value
        END,
        0
    ) AS value,
    totals.event_count,
    totals.digest
FROM unnest(
    $1::integer[], $2::integer[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::date[],
    $7::date[]
) WITH ORDINALITY AS w (
    customer_no, metric_no, aggregation, window_start, window_end, first_day, after_day, place
)
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(part.event_count), 0)::bigint AS event_count,
        coalesce(sum(part.digest), 0) AS digest,
        sum(part.value_sum) AS value_sum,
        max(part.value_max) AS value_max,
        min(part.value_min) AS value_min,
        (array_agg(part.last_value ORDER BY part.last_occurred_at DESC, part.last_arrival_no DESC)
            FILTER (WHERE w.aggregation = 'last'))[1] AS last_value
    FROM (
        SELECT
            d.event_count, d.digest, d.value_sum, d.value_max, d.value_min, d.last_value,
            d.last_occurred_at, d.last_arrival_no
        FROM usage_daily AS d
        WHERE d.customer_no = w.customer_no AND d.metric_no = w.metric_no
            AND d.day >= w.first_day AND d.day < w.after_day
        UNION ALL
        SELECT 1, e.payload_hash, e.value, e.value, e.value, e.value, e.occurred_at, e.arrival_no
        FROM events AS e
        WHERE e.customer_no = w.customer_no AND e.metric_no = w.metric_no
            AND e.occurred_at >= w.window_start
            AND e.occurred_at < least(w.window_end, w.first_day AT TIME ZONE 'UTC')
        UNION ALL
        SELECT 1, e.payload_hash, e.value, e.value, e.value, e.value, e.occurred_at, e.arrival_no
        FROM events AS e
        WHERE e.customer_no = w.customer_no AND e.metric_no = w.metric_no
            AND e.occurred_at >= greatest(w.window_start, w.after_day AT TIME ZONE 'UTC')
            AND e.occurred_at < w.window_end
    ) AS part
) AS totals
ORDER BY w.place;

-- name: metrics_used :many
-- params: $1 customer_no int4, $2 first_day date, $3 last_day date
-- why: which metrics have events on these days; one probe of usage_daily's primary key a metric
SELECT m.metric_key
FROM metrics AS m
WHERE EXISTS (
    SELECT FROM usage_daily AS d
    WHERE d.customer_no = $1 AND d.metric_no = m.metric_no AND d.day >= $2 AND d.day <= $3
)
ORDER BY m.metric_key;
