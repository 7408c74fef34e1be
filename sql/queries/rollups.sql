-- name: prepare :exec
-- why: where a landing puts what its events add to the rollups, of this connection alone and empty at each commit; kept, because making it anew each time would bloat the catalogues
CREATE TEMPORARY TABLE IF NOT EXISTS landing_usage (
    customer_no  integer     NOT NULL,
    metric_no    integer     NOT NULL,
    occurred_at  timestamptz NOT NULL,
    value        numeric     NOT NULL,
    payload_hash bigint      NOT NULL,
    arrival_no   bigint      NOT NULL
) ON COMMIT DELETE ROWS;

-- name: add :exec
-- params: $1 landing_no int8, $2 late_until date
-- why: adds a landing to the days it touches, in one order for all landings, so that two never wait for each other in a circle; last in the transaction, since others wait for these rows
INSERT INTO usage_daily AS u (
    customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min, last_event,
    landing_no, late_landing_no, first_added_at, last_added_at
)
SELECT
    customer_no, metric_no, (occurred_at AT TIME ZONE 'UTC')::date AS day,
    count(*), sum(payload_hash), sum(value), max(value), min(value),
    max(ARRAY[extract(epoch FROM occurred_at), arrival_no::numeric, value])
        FILTER (WHERE metric_no = ANY (ARRAY(
            SELECT m.metric_no FROM metrics AS m WHERE m.aggregation = 'last'
        ))),
    $1::bigint,
    CASE WHEN (occurred_at AT TIME ZONE 'UTC')::date <= $2::date THEN $1::bigint END,
    min(occurred_at), max(occurred_at)
FROM landing_usage
GROUP BY customer_no, metric_no, (occurred_at AT TIME ZONE 'UTC')::date
ORDER BY customer_no, metric_no, day
ON CONFLICT ON CONSTRAINT usage_daily_pkey DO UPDATE SET
    event_count = u.event_count + excluded.event_count,
    digest = u.digest + excluded.digest,
    value_sum = u.value_sum + excluded.value_sum,
    value_max = greatest(u.value_max, excluded.value_max),
    value_min = least(u.value_min, excluded.value_min),
    last_event = greatest(u.last_event, excluded.last_event),
    landing_no = greatest(u.landing_no, excluded.landing_no),
    late_landing_no = greatest(u.late_landing_no, excluded.late_landing_no),
    first_added_at = excluded.first_added_at,
    last_added_at = excluded.last_added_at;

-- name: total_windows :many
-- params: $1 customer_no int4[], $2 metric_no int4[], $3 aggregation text[], $4 span int4[], $5 span_start timestamptz[], $6 span_end timestamptz[], $7 first_day date[], $8 after_day date[]
-- why: windows share a few spans, numbered from 1, which are sent once; additive aggregations of many windows in one statement: the whole days from the rollups, by their primary key, what is left of the window at both edges from raw events, apart because one Append of both costs a quarter more
SELECT
    coalesce(
        CASE w.aggregation
            WHEN 'sum' THEN days.value_sum + edges.value_sum
            WHEN 'count' THEN days.event_count + edges.event_count
            WHEN 'max' THEN greatest(days.value_max, edges.value_max)
            WHEN 'min' THEN least(days.value_min, edges.value_min)
            WHEN 'last' THEN (greatest(days.last_event, edges.last_event))[3]
        END,
        0
    ) AS value,
    days.event_count + edges.event_count AS event_count,
    days.digest + edges.digest AS digest
FROM (
    SELECT customer_no, metric_no, aggregation, place,
        ($5::timestamptz[])[span] AS window_start, ($6::timestamptz[])[span] AS window_end,
        ($7::date[])[span] AS first_day, ($8::date[])[span] AS after_day
    FROM unnest($1::integer[], $2::integer[], $3::text[], $4::integer[])
        WITH ORDINALITY AS wanted (customer_no, metric_no, aggregation, span, place)
    OFFSET 0
) AS w
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(d.event_count), 0)::bigint AS event_count,
        coalesce(sum(d.digest), 0) AS digest,
        coalesce(sum(d.value_sum), 0) AS value_sum,
        max(d.value_max) AS value_max,
        min(d.value_min) AS value_min,
        max(d.last_event) AS last_event
    FROM usage_daily AS d
    WHERE d.customer_no = w.customer_no AND d.metric_no = w.metric_no
        AND d.day >= w.first_day AND d.day < w.after_day
) AS days
CROSS JOIN LATERAL (
    SELECT
        count(*) AS event_count,
        coalesce(sum(part.payload_hash), 0) AS digest,
        coalesce(sum(part.value), 0) AS value_sum,
        max(part.value) AS value_max,
        min(part.value) AS value_min,
        max(ARRAY[extract(epoch FROM part.occurred_at), part.arrival_no::numeric, part.value])
            FILTER (WHERE w.aggregation = 'last') AS last_event
    FROM (
        SELECT e.payload_hash, e.value, e.occurred_at, e.arrival_no
        FROM events AS e
        WHERE w.window_start < w.first_day AT TIME ZONE 'UTC'
            AND e.customer_no = w.customer_no AND e.metric_no = w.metric_no
            AND e.occurred_at >= w.window_start
            AND e.occurred_at < least(w.window_end, w.first_day AT TIME ZONE 'UTC')
        UNION ALL
        SELECT e.payload_hash, e.value, e.occurred_at, e.arrival_no
        FROM events AS e
        WHERE w.after_day AT TIME ZONE 'UTC' < w.window_end
            AND e.customer_no = w.customer_no AND e.metric_no = w.metric_no
            AND e.occurred_at >= greatest(w.window_start, w.after_day AT TIME ZONE 'UTC')
            AND e.occurred_at < w.window_end
    ) AS part
) AS edges
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
