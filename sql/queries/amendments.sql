-- name: insert :exec
-- params: $1 amendment_id text, $2 subscription_id text, $3 type text, $4 effective text, $5 effective_at timestamptz, $6 plan_id text, $7 plan_version int4, $8 prorate bool, $9 resume_at timestamptz, $10 end_at timestamptz, $11 reason text, $12 created_at timestamptz
-- why: pending, whether or not it is applied next
INSERT INTO amendments (
    amendment_id, subscription_id, type, effective, effective_at, plan_id, plan_version, prorate,
    resume_at, end_at, reason, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: get :maybe
-- params: $1 subscription_id text, $2 amendment_id text
-- why: one of a subscription's
SELECT amendment_id, subscription_id, type, effective, effective_at, status, plan_id, plan_version,
    prorate, resume_at, end_at, reason, failure, applied_at, created_at
FROM amendments
WHERE amendment_id = $2 AND subscription_id = $1;

-- name: page :many
-- params: $1 subscription_id text, $2 before_id text, $3 row_limit int8
-- why: newest first, by amendments_of_subscription
SELECT amendment_id, subscription_id, type, effective, effective_at, status, plan_id, plan_version,
    prorate, resume_at, end_at, reason, failure, applied_at, created_at
FROM amendments
WHERE subscription_id = $1 AND amendment_id < $2
ORDER BY amendment_id DESC
LIMIT $3;

-- name: in_force :many
-- params: $1 subscription_ids text[]
-- why: what makes the lives of some subscriptions: the applied in their order, then the pending in that of taking effect
SELECT amendment_id, subscription_id, type, effective, effective_at, status, plan_id, plan_version,
    prorate, resume_at, end_at, reason, failure, applied_at, created_at
FROM amendments
WHERE subscription_id = ANY ($1) AND status IN ('applied', 'pending')
ORDER BY subscription_id, applied_no NULLS LAST, effective_at, amendment_id;

-- name: next_due :maybe
-- params: $1 now timestamptz
-- why: a subscription with an amendment that is due, the longest first, by amendments_pending; held, so that two workers never take the same one
SELECT s.subscription_id
FROM amendments AS a
JOIN subscriptions AS s ON s.subscription_id = a.subscription_id
WHERE a.status = 'pending' AND a.effective_at <= $1
ORDER BY a.effective_at
LIMIT 1
FOR NO KEY UPDATE OF s SKIP LOCKED;

-- name: due_of_customers :many
-- params: $1 customer_nos int4[], $2 now timestamptz
-- why: before these are invoiced; in one order, so that two who do it do not wait in a circle
SELECT DISTINCT s.subscription_id
FROM subscriptions AS s
JOIN amendments AS a ON a.subscription_id = s.subscription_id
WHERE s.customer_no = ANY ($1) AND a.status = 'pending' AND a.effective_at <= $2
ORDER BY s.subscription_id;

-- name: count_applied :one
-- params: $1 customer_no int4
-- why: what a calculation rests on; held, so that none is applied before the transaction ends
SELECT coalesce(sum(held.amendments_applied), 0)::bigint AS amendments_applied
FROM (
    SELECT amendments_applied
    FROM subscriptions
    WHERE customer_no = $1
    ORDER BY subscription_id
    FOR SHARE
) AS held;

-- name: mark_applied :exec
-- params: $1 amendment_id text, $2 applied_no int4, $3 applied_at timestamptz
-- why: amendments_applied_once lets one be the next
UPDATE amendments
SET status = 'applied', applied_no = $2, applied_at = $3
WHERE amendment_id = $1 AND status = 'pending';

-- name: mark_failed :exec
-- params: $1 amendment_id text, $2 failure text
-- why: it will never be applied; the reason is the caller's to read
UPDATE amendments
SET status = 'failed', failure = $2
WHERE amendment_id = $1 AND status = 'pending';

-- name: cancel :exec
-- params: $1 amendment_id text
-- why: 0 rows when it is no longer pending
UPDATE amendments
SET status = 'cancelled'
WHERE amendment_id = $1 AND status = 'pending';
