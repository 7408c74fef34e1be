-- name: number :maybe
-- params: $1 customer_id text
-- why: whose entitlements are asked for; no row for an unknown customer
SELECT customer_no
FROM customers
WHERE customer_id = $1;

-- name: held :many
-- params: $1 customer_nos int4[], $2 now timestamptz
-- why: what runs for customers at an instant or may do so later, by subscriptions_of_customer; with those whose end an amendment is about to move
SELECT s.subscription_id, s.customer_no, c.customer_id, s.plan_id, s.plan_version, s.start_at,
    s.end_at, s.billed_through, s.rated_watermark, s.created_at, v.billing_interval, v.billing_count
FROM customers AS c
JOIN subscriptions AS s ON s.customer_no = c.customer_no
JOIN price_plan_versions AS v ON v.plan_id = s.plan_id AND v.version = s.plan_version
WHERE c.customer_no = ANY ($1)
    AND (
        s.lasts_until IS NULL
        OR s.lasts_until > $2
        OR EXISTS (
            SELECT
            FROM amendments AS a
            WHERE a.subscription_id = s.subscription_id AND a.status = 'pending'
        )
    )
ORDER BY s.customer_no, s.start_at, s.subscription_id;

-- name: granted :many
-- params: $1 plan_ids text[], $2 versions int4[]
-- why: what plan versions grant, each once
SELECT v.plan_id, v.version, v.entitlements
FROM unnest($1::text[], $2::integer[]) AS wanted (plan_id, version)
JOIN price_plan_versions AS v ON v.plan_id = wanted.plan_id AND v.version = wanted.version;
