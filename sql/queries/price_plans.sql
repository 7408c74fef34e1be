-- name: next_version :one
-- params: $1 plan_id text, $2 created_at timestamptz
-- why: makes the plan or takes its next version number, atomically; the row lock queues rivals, so numbers have no gap
INSERT INTO price_plans (plan_id, latest_version, created_at)
VALUES ($1, 1, $2)
ON CONFLICT ON CONSTRAINT price_plans_pkey
    DO UPDATE SET latest_version = price_plans.latest_version + 1
RETURNING latest_version;

-- name: insert_version :exec
-- params: $1 plan_id text, $2 version int4, $3 name text, $4 currency text, $5 billing_interval text, $6 billing_count int4, $7 changelog text, $8 effective_from timestamptz, $9 charges jsonb, $10 entitlements jsonb, $11 created_at timestamptz
-- why: a version is written once and only its deprecation is ever added
INSERT INTO price_plan_versions (
    plan_id, version, name, currency, billing_interval, billing_count, changelog, effective_from,
    charges, entitlements, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: get_version :maybe
-- params: $1 plan_id text, $2 version int4, $3 now timestamptz
-- why: one version, and which version of the plan is active now: what its status follows from
SELECT v.plan_id, v.version, v.name, v.currency, v.billing_interval, v.billing_count, v.changelog,
    v.effective_from, v.deprecated_at, v.charges, v.entitlements, v.created_at,
    (
        SELECT max(a.version)
        FROM price_plan_versions AS a
        WHERE a.plan_id = v.plan_id AND a.deprecated_at IS NULL AND a.effective_from <= $3
    ) AS active_version
FROM price_plan_versions AS v
WHERE v.plan_id = $1 AND v.version = $2;

-- name: get_current :maybe
-- params: $1 plan_id text, $2 now timestamptz
-- why: the active version; the newest one where none is
SELECT v.plan_id, v.version, v.name, v.currency, v.billing_interval, v.billing_count, v.changelog,
    v.effective_from, v.deprecated_at, v.charges, v.entitlements, v.created_at, a.active_version
FROM price_plans AS p
CROSS JOIN LATERAL (
    SELECT max(version) AS active_version
    FROM price_plan_versions
    WHERE plan_id = p.plan_id AND deprecated_at IS NULL AND effective_from <= $2
) AS a
JOIN price_plan_versions AS v
    ON v.plan_id = p.plan_id AND v.version = coalesce(a.active_version, p.latest_version)
WHERE p.plan_id = $1;

-- name: page :many
-- params: $1 now timestamptz, $2 before_created_at timestamptz, $3 before_plan_id text, $4 row_limit int8
-- why: plans, newest first by price_plans_newest, each as its current version
SELECT v.plan_id, v.version, v.name, v.currency, v.billing_interval, v.billing_count, v.changelog,
    v.effective_from, v.deprecated_at, v.charges, v.entitlements, v.created_at, a.active_version,
    p.created_at AS plan_created_at
FROM price_plans AS p
CROSS JOIN LATERAL (
    SELECT max(version) AS active_version
    FROM price_plan_versions
    WHERE plan_id = p.plan_id AND deprecated_at IS NULL AND effective_from <= $1
) AS a
JOIN price_plan_versions AS v
    ON v.plan_id = p.plan_id AND v.version = coalesce(a.active_version, p.latest_version)
WHERE (p.created_at, p.plan_id) < ($2, $3)
ORDER BY p.created_at DESC, p.plan_id DESC
LIMIT $4;

-- name: page_of_versions :many
-- params: $1 plan_id text, $2 now timestamptz, $3 before_version int4, $4 row_limit int8
-- why: a plan's versions, newest first, by the primary key
SELECT v.plan_id, v.version, v.name, v.currency, v.billing_interval, v.billing_count, v.changelog,
    v.effective_from, v.deprecated_at, v.charges, v.entitlements, v.created_at, a.active_version
FROM price_plan_versions AS v
CROSS JOIN (
    SELECT max(version) AS active_version
    FROM price_plan_versions
    WHERE plan_id = $1 AND deprecated_at IS NULL AND effective_from <= $2
) AS a
WHERE v.plan_id = $1 AND v.version < $3
ORDER BY v.version DESC
LIMIT $4;

-- name: hold_version :maybe
-- params: $1 plan_id text, $2 version int4
-- why: a subscription holds its version against deprecation until it is committed: once a deprecation is answered, nothing subscribes
SELECT plan_id, version, name, currency, billing_interval, billing_count, changelog, effective_from,
    deprecated_at, charges, entitlements, created_at
FROM price_plan_versions
WHERE plan_id = $1 AND version = $2
FOR SHARE;

-- name: deprecate :exec
-- params: $1 plan_id text, $2 version int4, $3 deprecated_at timestamptz
-- why: 0 rows where it is deprecated already: the first instant stands
UPDATE price_plan_versions
SET deprecated_at = $3
WHERE plan_id = $1 AND version = $2 AND deprecated_at IS NULL;
