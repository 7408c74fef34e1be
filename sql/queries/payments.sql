-- name: lock_bill :maybe
-- params: $1 invoice_id text
-- why: what a charge needs of an invoice and its customer; the invoice is locked, so that its state and its attempts change one at a time
SELECT i.invoice_id, i.status, i.total_minor, i.currency, c.billing_provider,
    c.provider_customer_id, c.provider_payment_method
FROM invoices AS i
JOIN customers AS c USING (customer_no)
WHERE i.invoice_id = $1
FOR NO KEY UPDATE OF i;

-- name: insert :exec
-- params: $1 payment_id text, $2 invoice_id text, $3 provider text, $4 account_fingerprint text, $5 attempt_id uuid, $6 idempotency_key uuid, $7 amount_minor numeric, $8 currency text, $9 request jsonb, $10 request_sha256 bytea, $11 next_check_at timestamptz, $12 created_at timestamptz
-- why: payments_one_live lets one attempt of an invoice in; 0 rows when there is one
INSERT INTO payments (
    payment_id, invoice_id, provider, account_fingerprint, attempt_id, idempotency_key,
    amount_minor, currency, request, request_sha256, state, next_check_at, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'created', $11, $12)
ON CONFLICT DO NOTHING;

-- name: get :maybe
-- params: $1 payment_id text
-- why: by the primary key
SELECT payment_id, invoice_id, provider, account_fingerprint, attempt_id, idempotency_key,
    amount_minor, currency, state, sends, maybe_executed, first_sent_at, last_sent_at, lease_id,
    leased_until, next_check_at, retry_at, checks, provider_payment_id, code, provider_code, retry,
    created_at, settled_at
FROM payments
WHERE payment_id = $1;

-- name: get_by_attempt :maybe
-- params: $1 attempt_id uuid
-- why: by the id that the provider knows it by, by payments_attempt_once
SELECT payment_id, invoice_id, provider, account_fingerprint, attempt_id, idempotency_key,
    amount_minor, currency, state, sends, maybe_executed, first_sent_at, last_sent_at, lease_id,
    leased_until, next_check_at, retry_at, checks, provider_payment_id, code, provider_code, retry,
    created_at, settled_at
FROM payments
WHERE attempt_id = $1;

-- name: live_of_invoice :maybe
-- params: $1 invoice_id text
-- why: the attempt that keeps another out, by payments_one_live
SELECT payment_id, invoice_id, provider, account_fingerprint, attempt_id, idempotency_key,
    amount_minor, currency, state, sends, maybe_executed, first_sent_at, last_sent_at, lease_id,
    leased_until, next_check_at, retry_at, checks, provider_payment_id, code, provider_code, retry,
    created_at, settled_at
FROM payments
WHERE invoice_id = $1
    AND state IN (
        'created', 'sending', 'transient', 'unknown', 'pending', 'requires_action',
        'needs_operator'
    )
LIMIT 1;

-- name: page :many
-- params: $1 before_id text, $2 row_limit int8
-- why: newest first, by the primary key: ids ascend with time
SELECT payment_id, invoice_id, provider, account_fingerprint, attempt_id, idempotency_key,
    amount_minor, currency, state, sends, maybe_executed, first_sent_at, last_sent_at, lease_id,
    leased_until, next_check_at, retry_at, checks, provider_payment_id, code, provider_code, retry,
    created_at, settled_at
FROM payments
WHERE payment_id < $1
ORDER BY payment_id DESC
LIMIT $2;

-- name: page_of_states :many
-- params: $1 states text[], $2 before_id text, $3 row_limit int8
-- why: the same of some states: a page of each, of which the first are taken; the state is bounded by comparing rows and not by =, so that payments_of_state is read in order and never all payments for a rare state
SELECT p.*
FROM unnest($1::text[]) AS wanted (state)
CROSS JOIN LATERAL (
    SELECT payment_id, invoice_id, provider, account_fingerprint, attempt_id, idempotency_key,
        amount_minor, currency, state, sends, maybe_executed, first_sent_at, last_sent_at, lease_id,
        leased_until, next_check_at, retry_at, checks, provider_payment_id, code, provider_code, retry,
        created_at, settled_at
    FROM payments
    WHERE (payments.state, payment_id) < (wanted.state, $2) AND payments.state >= wanted.state
    ORDER BY payments.state DESC, payment_id DESC
    LIMIT $3
) AS p
ORDER BY p.payment_id DESC
LIMIT $3;

-- name: page_of_invoice :many
-- params: $1 invoice_id text, $2 states text[], $3 before_id text, $4 row_limit int8
-- why: an invoice's, by payments_of_invoice; it has few
SELECT payment_id, invoice_id, provider, account_fingerprint, attempt_id, idempotency_key,
    amount_minor, currency, state, sends, maybe_executed, first_sent_at, last_sent_at, lease_id,
    leased_until, next_check_at, retry_at, checks, provider_payment_id, code, provider_code, retry,
    created_at, settled_at
FROM payments
WHERE invoice_id = $1 AND state = ANY ($2) AND payment_id < $3
ORDER BY payment_id DESC
LIMIT $4;

-- name: request :one
-- params: $1 payment_id text
-- why: the frozen bytes, apart: only a send or a look-up needs them
SELECT request, request_sha256
FROM payments
WHERE payment_id = $1;

-- name: compare_and_set :exec
-- params: $1 payment_id text, $2 was_state text, $3 was_sends int4, $4 was_checks int4, $5 state text, $6 sends int4, $7 checks int4, $8 maybe_executed bool, $9 first_sent_at timestamptz, $10 last_sent_at timestamptz, $11 lease_id uuid, $12 leased_until timestamptz, $13 next_check_at timestamptz, $14 retry_at timestamptz, $15 provider_payment_id text, $16 code text, $17 provider_code text, $18 retry text, $19 outcome jsonb, $20 settled_at timestamptz
-- why: moves an attempt on if nobody did meanwhile; every send and every check counts up, so a stale writer changes 0 rows
UPDATE payments
SET state = $5, sends = $6, checks = $7, maybe_executed = $8, first_sent_at = $9,
    last_sent_at = $10, lease_id = $11, leased_until = $12, next_check_at = $13, retry_at = $14,
    provider_payment_id = $15, code = $16, provider_code = $17, retry = $18,
    outcome = coalesce($19, outcome), settled_at = $20
WHERE payment_id = $1 AND state = $2 AND sends = $3 AND checks = $4;

-- name: due :many
-- params: $1 now timestamptz, $2 row_limit int8
-- why: attempts somebody must look after, by payments_due
SELECT payment_id, invoice_id, provider, account_fingerprint, attempt_id, idempotency_key,
    amount_minor, currency, state, sends, maybe_executed, first_sent_at, last_sent_at, lease_id,
    leased_until, next_check_at, retry_at, checks, provider_payment_id, code, provider_code, retry,
    created_at, settled_at
FROM payments
WHERE next_check_at <= $1
    AND state IN ('created', 'sending', 'transient', 'unknown', 'pending', 'requires_action')
ORDER BY next_check_at
LIMIT $2;

-- name: unsettled :many
-- params: $1 states text[], $2 rows_max int8
-- why: how many attempts are in each of these states, counted no further than rows_max; by payments_of_state
SELECT wanted.state, (
    SELECT count(*)
    FROM (SELECT 1 FROM payments WHERE payments.state = wanted.state LIMIT $2) AS counted
) AS attempts
FROM unnest($1::text[]) AS wanted (state);
