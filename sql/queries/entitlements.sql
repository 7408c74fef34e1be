-- name: running :many
-- params: $1 customer_id text, $2 at timestamptz
-- why: the customer and what may run for it at that instant, the most recently started last, with those whose end an amendment is about to move; one row without a subscription where nothing does, none for an unknown customer
SELECT c.customer_no, c.customer_id, s.subscription_id, s.plan_id, s.plan_version, s.start_at,
    s.end_at, s.billed_through, s.rated_watermark, s.created_at, v.billing_interval, v.billing_count
FROM customers AS c
LEFT JOIN (
    subscriptions AS s
    JOIN price_plan_versions AS v ON v.plan_id = s.plan_id AND v.version = s.plan_version
) ON s.customer_no = c.customer_no AND s.start_at <= $2
    AND (
        s.lasts_until IS NULL
        OR s.lasts_until > $2
        OR EXISTS (
            SELECT
            FROM amendments AS a
            WHERE a.subscription_id = s.subscription_id AND a.status = 'pending'
                AND a.effective_at <= $2
        )
    )
WHERE c.customer_id = $1
ORDER BY s.start_at, s.subscription_id;

-- name: granted :many
-- params: $1 plan_ids text[], $2 versions int4[]
-- why: what plan versions grant, each once
SELECT v.plan_id, v.version, v.entitlements
FROM unnest($1::text[], $2::integer[]) AS wanted (plan_id, version)
JOIN price_plan_versions AS v ON v.plan_id = wanted.plan_id AND v.version = wanted.version;
