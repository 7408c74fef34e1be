-- name: insert :one
-- params: $1 customer_id text, $2 name text, $3 email text, $4 billing_provider text, $5 provider_customer_id text, $6 provider_payment_method text, $7 metadata jsonb, $8 created_at timestamptz
-- why: customers_id_once refuses a second customer of one id
INSERT INTO customers (
    customer_id, name, email, billing_provider, provider_customer_id, provider_payment_method,
    metadata, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING customer_no, customer_id, name, email, currency, billing_provider, provider_customer_id,
    provider_payment_method, metadata, created_at;

-- name: get :maybe
-- params: $1 customer_id text
-- why: by customers_id_once
SELECT customer_no, customer_id, name, email, currency, billing_provider, provider_customer_id,
    provider_payment_method, metadata, created_at
FROM customers
WHERE customer_id = $1;

-- name: lock :maybe
-- params: $1 customer_id text
-- why: a change reads, decides and writes one customer at a time; rows that refer to it are not held up
SELECT customer_no, customer_id, name, email, currency, billing_provider, provider_customer_id,
    provider_payment_method, metadata, created_at
FROM customers
WHERE customer_id = $1
FOR NO KEY UPDATE;

-- name: page :many
-- params: $1 before_no int4, $2 row_limit int8
-- why: newest first; numbers are given in order of insertion, so the primary key is the keyset
SELECT customer_no, customer_id, name, email, currency, billing_provider, provider_customer_id,
    provider_payment_method, metadata, created_at
FROM customers
WHERE customer_no < $1
ORDER BY customer_no DESC
LIMIT $2;

-- name: update :exec
-- params: $1 customer_no int4, $2 name text, $3 email text, $4 billing_provider text, $5 provider_customer_id text, $6 provider_payment_method text, $7 metadata jsonb
-- why: all that a caller may change, at once, under the lock; the currency is not among it
UPDATE customers
SET name = $2, email = $3, billing_provider = $4, provider_customer_id = $5,
    provider_payment_method = $6, metadata = $7
WHERE customer_no = $1;

-- name: fix_currency :exec
-- params: $1 customer_no int4, $2 currency text
-- why: the first subscription fixes the currency for good; 0 rows when another was first
UPDATE customers
SET currency = $2
WHERE customer_no = $1 AND (currency IS NULL OR currency = $2);
