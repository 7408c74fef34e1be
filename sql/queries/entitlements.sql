-- name: running :many
-- params: $1 customer_id text, $2 at timestamptz
-- why: the customer and what runs for it at that instant, the most recently started last; one row without a subscription where nothing does, none for an unknown customer
SELECT c.customer_no, s.subscription_id, s.plan_id, s.plan_version, s.start_at, s.end_at,
    s.created_at, v.billing_interval, v.billing_count, v.entitlements
FROM customers AS c
LEFT JOIN (
    subscriptions AS s
    JOIN price_plan_versions AS v ON v.plan_id = s.plan_id AND v.version = s.plan_version
) ON s.customer_no = c.customer_no AND s.start_at <= $2 AND (s.end_at IS NULL OR s.end_at > $2)
WHERE c.customer_id = $1
ORDER BY s.start_at, s.subscription_id;
