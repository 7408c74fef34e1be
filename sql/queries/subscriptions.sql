-- name: insert :exec
-- params: $1 subscription_id text, $2 customer_no int4, $3 plan_id text, $4 plan_version int4, $5 start_at timestamptz, $6 end_at timestamptz, $7 created_at timestamptz
-- why: pins the plan's version for good
INSERT INTO subscriptions (
    subscription_id, customer_no, plan_id, plan_version, start_at, end_at, lasts_until, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $6, $7);

-- name: priced_elsewhere :maybe
-- params: $1 customer_no int4, $2 metric_keys text[], $3 start_at timestamptz, $4 end_at timestamptz
-- why: names the first metric that is priced already in that time, for the message; by the index of metric_priced_once, which is the guard
SELECT m.metric_key, sm.subscription_id
FROM subscription_metrics AS sm
JOIN metrics AS m ON m.metric_no = sm.metric_no
WHERE int4range(sm.customer_no, sm.customer_no, '[]') && int4range($1, $1, '[]')
    AND sm.during && tstzrange($3, $4)
    AND m.metric_key = ANY ($2)
ORDER BY m.metric_key, sm.subscription_id
LIMIT 1;

-- name: price_metrics :exec
-- params: $1 subscription_id text, $2 customer_no int4, $3 metric_keys text[], $4 start_at timestamptz, $5 end_at timestamptz
-- why: metric_priced_once refuses a metric that another subscription of the customer prices in that time
INSERT INTO subscription_metrics (subscription_id, customer_no, metric_no, during)
SELECT $1, $2, metric_no, tstzrange($4, $5)
FROM metrics
WHERE metric_key = ANY ($3)
ORDER BY metric_no;

-- name: unprice_metrics :exec
-- params: $1 subscription_id text
-- why: what it prices from now on is stored anew, in the same transaction
DELETE FROM subscription_metrics
WHERE subscription_id = $1;

-- name: amend :one
-- params: $1 subscription_id text, $2 lasts_until timestamptz, $3 effective_at timestamptz, $4 reopened_from timestamptz
-- why: what was invoiced ahead of the amendment is looked at again; what is being rated is refused, for its mark names the count that it knew
UPDATE subscriptions
SET lasts_until = $2,
    billed_through = CASE WHEN billed_through > $3 THEN $4 ELSE billed_through END,
    amendments_applied = amendments_applied + 1
WHERE subscription_id = $1
RETURNING amendments_applied;

-- name: lock :maybe
-- params: $1 subscription_id text
-- why: get's row, held until the transaction ends
SELECT s.subscription_id, s.customer_no, c.customer_id, s.plan_id, s.plan_version, s.start_at,
    s.end_at, s.billed_through, s.rated_watermark, s.created_at, v.billing_interval, v.billing_count
FROM subscriptions AS s
JOIN customers AS c ON c.customer_no = s.customer_no
JOIN price_plan_versions AS v ON v.plan_id = s.plan_id AND v.version = s.plan_version
WHERE s.subscription_id = $1
FOR NO KEY UPDATE OF s;

-- name: get :maybe
-- params: $1 subscription_id text
-- why: with the calendar of its plan's version, which its periods follow from
SELECT s.subscription_id, s.customer_no, c.customer_id, s.plan_id, s.plan_version, s.start_at,
    s.end_at, s.billed_through, s.rated_watermark, s.created_at, v.billing_interval, v.billing_count
FROM subscriptions AS s
JOIN customers AS c ON c.customer_no = s.customer_no
JOIN price_plan_versions AS v ON v.plan_id = s.plan_id AND v.version = s.plan_version
WHERE s.subscription_id = $1;

-- name: page :many
-- params: $1 before_id text, $2 row_limit int8
-- why: newest first: the ids are ULIDs, which sort by time of creation
SELECT s.subscription_id, s.customer_no, c.customer_id, s.plan_id, s.plan_version, s.start_at,
    s.end_at, s.billed_through, s.rated_watermark, s.created_at, v.billing_interval, v.billing_count
FROM subscriptions AS s
JOIN customers AS c ON c.customer_no = s.customer_no
JOIN price_plan_versions AS v ON v.plan_id = s.plan_id AND v.version = s.plan_version
WHERE s.subscription_id < $1
ORDER BY s.subscription_id DESC
LIMIT $2;

-- name: page_of_customer :many
-- params: $1 customer_id text, $2 before_id text, $3 row_limit int8
-- why: the same for one customer, by subscriptions_of_customer
SELECT s.subscription_id, s.customer_no, c.customer_id, s.plan_id, s.plan_version, s.start_at,
    s.end_at, s.billed_through, s.rated_watermark, s.created_at, v.billing_interval, v.billing_count
FROM customers AS c
JOIN subscriptions AS s ON s.customer_no = c.customer_no
JOIN price_plan_versions AS v ON v.plan_id = s.plan_id AND v.version = s.plan_version
WHERE c.customer_id = $1 AND s.subscription_id < $2
ORDER BY s.subscription_id DESC
LIMIT $3;
