-- name: insert :exec
-- params: $1 calculation_id text, $2 customer_no int4, $3 customer_sequence int4, $4 period_start timestamptz, $5 period_end timestamptz, $6 currency text, $7 total_minor numeric, $8 line_items jsonb, $9 created_at timestamptz, $10 expires_at timestamptz, $11 amendments_applied int8
-- why: customer_sequence is the invoice that the calculation follows; once another one follows it, or an amendment is applied, it is stale
INSERT INTO calculations (
    calculation_id, customer_no, customer_sequence, period_start, period_end, currency,
    total_minor, line_items, created_at, expires_at, amendments_applied
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: get :maybe
-- params: $1 calculation_id text
-- why: by the primary key
SELECT calculation_id, customer_no, customer_sequence, period_start, period_end, currency,
    total_minor, line_items, created_at, expires_at, amendments_applied
FROM calculations
WHERE calculation_id = $1;

-- name: delete_expired :exec
-- params: $1 expired_before timestamptz, $2 row_limit int8
-- why: a bounded bite, by calculations_expiry; what others are deleting is left to them
DELETE FROM calculations
WHERE calculation_id IN (
    SELECT calculation_id
    FROM calculations
    WHERE expires_at < $1
    ORDER BY expires_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
);
