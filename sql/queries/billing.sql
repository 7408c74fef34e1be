-- name: accounts :many
-- params: $1 customer_nos int4[]
-- why: read before all else: an invoice is computed after the one with last_sequence, and only one can be
SELECT c.customer_no, c.customer_id, c.currency, i.customer_sequence AS last_sequence,
    i.cutoff AS last_cutoff
FROM customers AS c
LEFT JOIN LATERAL (
    SELECT customer_sequence, cutoff
    FROM invoices
    WHERE customer_no = c.customer_no
    ORDER BY customer_sequence DESC
    LIMIT 1
) AS i ON true
WHERE c.customer_no = ANY ($1)
ORDER BY c.customer_no;

-- name: credits :many
-- params: $1 customer_nos int4[]
-- why: what earlier invoices left over, for customers who have any
SELECT customer_no, sum(amount_minor) AS credit_minor
FROM customer_credits
WHERE customer_no = ANY ($1)
GROUP BY customer_no
HAVING sum(amount_minor) <> 0;

-- name: subscriptions :many
-- params: $1 customer_nos int4[], $2 started_before timestamptz
-- why: all that may owe something by then, in one read, by subscriptions_of_customer
SELECT s.subscription_id, s.customer_no, c.customer_id, s.plan_id, s.plan_version, s.start_at,
    s.end_at, s.billed_through, s.rated_watermark, s.created_at
FROM subscriptions AS s
JOIN customers AS c ON c.customer_no = s.customer_no
WHERE s.customer_no = ANY ($1) AND s.start_at < $2
ORDER BY s.customer_no, s.subscription_id;

-- name: plan_versions :many
-- params: $1 plan_ids text[], $2 versions int4[]
-- why: the terms that the subscriptions of a chunk are pinned to, each once
SELECT v.plan_id, v.version, v.currency, v.billing_interval, v.billing_count, v.charges
FROM unnest($1::text[], $2::integer[]) AS wanted (plan_id, version)
JOIN price_plan_versions AS v ON v.plan_id = wanted.plan_id AND v.version = wanted.version;

-- name: changed_days :many
-- params: $1 customer_nos int4[], $2 late_days int4
-- why: days of invoiced periods that events landed in since the rating: what a true-up looks at instead of all history. What landed late_days or more after its day, by usage_daily_changes; what landed sooner can only be of the last days before the rating, by the primary key; OFFSET 0 keeps that one probe a metric
SELECT s.subscription_id, u.metric_no, u.day
FROM subscriptions AS s
JOIN usage_daily AS u
    ON u.customer_no = s.customer_no AND u.late_landing_no IS NOT NULL
    AND u.late_landing_no > s.rated_watermark
WHERE s.customer_no = ANY ($1) AND u.day < s.billed_through AT TIME ZONE 'UTC'
UNION
SELECT s.subscription_id, m.metric_no, recent.day
FROM subscriptions AS s
JOIN subscription_metrics AS m ON m.subscription_id = s.subscription_id
CROSS JOIN LATERAL (
    SELECT u.day
    FROM usage_daily AS u
    WHERE u.customer_no = s.customer_no AND u.metric_no = m.metric_no
        AND u.day >= s.rated_on - $2::integer
        AND u.day < s.billed_through AT TIME ZONE 'UTC'
        AND u.landing_no > s.rated_watermark
    OFFSET 0
) AS recent
WHERE s.customer_no = ANY ($1);

-- name: open_windows :many
-- params: $1 customer_nos int4[]
-- why: how far interim invoices went in periods that are still open; by the index of invoice_lines_billed_once, from billed_through on
SELECT l.subscription_id, l.period_start, max(l.window_end) AS window_end
FROM subscriptions AS s
JOIN invoice_lines AS l
    ON l.subscription_id = s.subscription_id
    AND l.period_start >= coalesce(s.billed_through, s.start_at)
WHERE s.customer_no = ANY ($1)
GROUP BY l.subscription_id, l.period_start;

-- name: billed :many
-- params: $1 subscription_ids text[], $2 period_starts timestamptz[]
-- why: what the periods in question were billed so far, by the index of invoice_lines_billed_once
SELECT l.subscription_id, l.period_start, l.segment_start, l.charge_id,
    sum(l.amount_minor) AS amount_minor, sum(l.exact_amount) AS exact_amount,
    max(l.revision) AS revisions, coalesce(max(l.watermark), 0) AS watermark
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (subscription_id, period_start)
JOIN invoice_lines AS l
    ON l.subscription_id = wanted.subscription_id AND l.period_start = wanted.period_start
GROUP BY l.subscription_id, l.period_start, l.segment_start, l.charge_id;

-- name: mark :exec
-- params: $1 subscription_ids text[], $2 billed_through timestamptz[], $3 amendments_applied int4[], $4 rated_watermark int8, $5 rated_on date
-- why: how far each subscription is rated now; of one life any rating's marks are true, so the last writer may win, but not of a life that was amended since
UPDATE subscriptions AS s
SET billed_through = marks.billed_through, rated_watermark = $4, rated_on = $5
FROM unnest($1::text[], $2::timestamptz[], $3::integer[])
    AS marks (subscription_id, billed_through, amendments_applied)
WHERE s.subscription_id = marks.subscription_id
    AND s.amendments_applied = marks.amendments_applied;

-- name: due :many
-- params: $1 after_customer_no int4, $2 started_before timestamptz, $3 row_limit int8, $4 late_days int4
-- why: customers a run has to look at, in order of their numbers: some subscription is not billed to its end, or usage landed since
SELECT c.customer_no
FROM customers AS c
WHERE c.customer_no > $1
    AND EXISTS (
        SELECT
        FROM subscriptions AS s
        WHERE s.customer_no = c.customer_no
            AND s.start_at < $2
            AND (
                s.billed_through IS NULL
                OR s.lasts_until IS NULL
                OR s.billed_through < s.lasts_until
                OR EXISTS (
                    SELECT
                    FROM usage_daily AS u
                    WHERE u.customer_no = s.customer_no AND u.late_landing_no IS NOT NULL
                        AND u.late_landing_no > s.rated_watermark
                )
                OR EXISTS (
                    SELECT
                    FROM subscription_metrics AS m
                    JOIN usage_daily AS u
                        ON u.customer_no = s.customer_no AND u.metric_no = m.metric_no
                        AND u.day >= s.rated_on - $4::integer
                    WHERE m.subscription_id = s.subscription_id
                        AND u.landing_no > s.rated_watermark
                )
            )
    )
ORDER BY c.customer_no
LIMIT $3;

-- name: newest_inbox_row :one
-- params:
-- why: what had been accepted, but not landed, by now; null when nothing waits
SELECT max(inbox_id) AS inbox_id
FROM event_inbox;

-- name: inbox_has_until :one
-- params: $1 inbox_id int8
-- why: whether any of it still waits
SELECT EXISTS (SELECT FROM event_inbox WHERE inbox_id <= $1) AS waiting;
