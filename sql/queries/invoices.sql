-- name: insert_many :exec
-- params: $1 invoice_ids text[], $2 customer_nos int4[], $3 customer_sequences int4[], $4 currencies text[], $5 totals_minor numeric[], $6 period_starts timestamptz[], $7 period_ends timestamptz[], $8 cutoffs timestamptz[], $9 calculation_ids text[], $10 created_at timestamptz, $11 seller jsonb
-- why: invoices_customer_sequence_once lets one invoice follow another; in order of customers, so that rivals queue and do not deadlock; who the customers are now is kept
INSERT INTO invoices (
    invoice_id, customer_no, customer_sequence, status, currency, total_minor, period_start,
    period_end, cutoff, calculation_id, created_at, buyer_name, buyer_email, seller
)
SELECT issued.invoice_id, customer_no, issued.customer_sequence, 'issued', issued.currency,
    issued.total_minor, issued.period_start, issued.period_end, issued.cutoff,
    issued.calculation_id, $10, c.name, c.email, $11
FROM unnest(
    $1::text[], $2::integer[], $3::integer[], $4::text[], $5::numeric[], $6::timestamptz[],
    $7::timestamptz[], $8::timestamptz[], $9::text[]
) AS issued (
    invoice_id, customer_no, customer_sequence, currency, total_minor, period_start, period_end,
    cutoff, calculation_id
)
JOIN customers AS c USING (customer_no)
ORDER BY customer_no;

-- name: insert_lines :exec
-- params: $1 lines json
-- why: all lines of a chunk; invoice_lines_billed_once refuses a charge's revision that is billed already
INSERT INTO invoice_lines (
    invoice_id, line_no, kind, description, charge_id, pricing_model, metric_key, subscription_id,
    plan_id, plan_version, period_start, period_end, segment_start, segment_end, window_end,
    pauses, revision, quantity, exact_amount, amount_minor, owed_minor, previously_billed_minor,
    step, tier_breakdown, event_count, digest, watermark
)
SELECT invoice_id, line_no, kind, description, charge_id, pricing_model, metric_key,
    subscription_id, plan_id, plan_version, period_start, period_end, segment_start, segment_end,
    window_end, pauses, revision, quantity, exact_amount, amount_minor, owed_minor,
    previously_billed_minor, step, tier_breakdown, event_count, digest, watermark
FROM json_populate_recordset(NULL::invoice_lines, $1);

-- name: insert_credits :exec
-- params: $1 invoice_ids text[], $2 customer_nos int4[], $3 amounts_minor numeric[], $4 created_at timestamptz
-- why: what each invoice left over or used up
INSERT INTO customer_credits (invoice_id, customer_no, amount_minor, created_at)
SELECT invoice_id, customer_no, amount_minor, $4
FROM unnest($1::text[], $2::integer[], $3::numeric[]) AS moved (invoice_id, customer_no, amount_minor);

-- name: number_many :many
-- params: $1 invoice_ids text[]
-- why: the last statement of a transaction that issues: the counter's row is locked from here to the commit, and a rollback leaves no gap
WITH taken AS (
    UPDATE counters
    SET value = value + cardinality($1::text[])
    WHERE name = 'invoice'
    RETURNING value - cardinality($1::text[]) AS before
)
UPDATE invoices AS i
SET number = taken.before + issued.position
FROM taken, unnest($1::text[]) WITH ORDINALITY AS issued (invoice_id, position)
WHERE i.invoice_id = issued.invoice_id
RETURNING i.invoice_id, i.number;

-- name: get :maybe
-- params: $1 invoice_id text
-- why: by the primary key, with its customer
SELECT i.invoice_id, i.number, i.customer_no, c.customer_id, i.customer_sequence, i.status,
    i.payment_status, i.currency, i.total_minor, i.period_start, i.period_end, i.cutoff,
    i.calculation_id, i.archive_reason, i.created_at, i.paid_at, i.archived_at
FROM invoices AS i
JOIN customers AS c ON c.customer_no = i.customer_no
WHERE i.invoice_id = $1;

-- name: parties :maybe
-- params: $1 invoice_id text
-- why: who issued it and to whom, as they were
SELECT c.customer_id, i.buyer_name, i.buyer_email, i.seller
FROM invoices AS i
JOIN customers AS c ON c.customer_no = i.customer_no
WHERE i.invoice_id = $1;

-- name: lock :maybe
-- params: $1 invoice_id text
-- why: a change of state reads, decides and writes one invoice at a time; its lines and payments are not held up
SELECT i.invoice_id, i.number, i.customer_no, c.customer_id, i.customer_sequence, i.status,
    i.payment_status, i.currency, i.total_minor, i.period_start, i.period_end, i.cutoff,
    i.calculation_id, i.archive_reason, i.created_at, i.paid_at, i.archived_at
FROM invoices AS i
JOIN customers AS c ON c.customer_no = i.customer_no
WHERE i.invoice_id = $1
FOR NO KEY UPDATE OF i;

-- name: lines :many
-- params: $1 invoice_ids text[]
-- why: the lines of the invoices of one answer, in their order
SELECT invoice_id, line_no, kind, description, charge_id, pricing_model, metric_key,
    subscription_id, plan_id, plan_version, period_start, period_end, segment_start, segment_end,
    window_end, pauses, revision, quantity, exact_amount, amount_minor, owed_minor,
    previously_billed_minor, step, tier_breakdown, event_count, digest, watermark
FROM invoice_lines
WHERE invoice_id = ANY ($1)
ORDER BY invoice_id, line_no;

-- name: latest_lines :many
-- params: $1 subscription_ids text[], $2 period_starts timestamptz[], $3 segment_starts timestamptz[], $4 charge_ids text[]
-- why: what the last lines of charges in segments say, to give them back; one probe each of invoice_lines_billed_once
SELECT l.kind, l.description, l.charge_id, l.pricing_model, l.metric_key, l.subscription_id,
    l.plan_id, l.plan_version, l.period_start, l.period_end, l.segment_start, l.segment_end,
    l.window_end, l.pauses, l.revision, l.quantity, l.exact_amount, l.amount_minor, l.owed_minor,
    l.previously_billed_minor, l.step, l.tier_breakdown, l.event_count, l.digest, l.watermark
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[])
    AS wanted (subscription_id, period_start, segment_start, charge_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM invoice_lines AS i
    WHERE i.subscription_id = wanted.subscription_id AND i.period_start = wanted.period_start
        AND i.segment_start = wanted.segment_start AND i.charge_id = wanted.charge_id
    ORDER BY i.revision DESC
    LIMIT 1
) AS l;

-- name: page :many
-- params: $1 before_number int8, $2 row_limit int8
-- why: newest first, by the number: it is given in order of commit, so a page never misses one
SELECT i.invoice_id, i.number, i.customer_no, c.customer_id, i.customer_sequence, i.status,
    i.payment_status, i.currency, i.total_minor, i.period_start, i.period_end, i.cutoff,
    i.calculation_id, i.archive_reason, i.created_at, i.paid_at, i.archived_at
FROM invoices AS i
JOIN customers AS c ON c.customer_no = i.customer_no
WHERE i.number < $1
ORDER BY i.number DESC
LIMIT $2;

-- name: page_of_status :many
-- params: $1 status text, $2 before_number int8, $3 row_limit int8
-- why: the same of one status, by invoices_of_status
SELECT i.invoice_id, i.number, i.customer_no, c.customer_id, i.customer_sequence, i.status,
    i.payment_status, i.currency, i.total_minor, i.period_start, i.period_end, i.cutoff,
    i.calculation_id, i.archive_reason, i.created_at, i.paid_at, i.archived_at
FROM invoices AS i
JOIN customers AS c ON c.customer_no = i.customer_no
WHERE i.status = $1 AND i.number < $2
ORDER BY i.number DESC
LIMIT $3;

-- name: page_of_customer :many
-- params: $1 customer_id text, $2 statuses text[], $3 before_number int8, $4 row_limit int8
-- why: a customer's, by invoices_customer_sequence_once: the sequence grows with the number
SELECT i.invoice_id, i.number, i.customer_no, c.customer_id, i.customer_sequence, i.status,
    i.payment_status, i.currency, i.total_minor, i.period_start, i.period_end, i.cutoff,
    i.calculation_id, i.archive_reason, i.created_at, i.paid_at, i.archived_at
FROM customers AS c
JOIN invoices AS i ON i.customer_no = c.customer_no
WHERE c.customer_id = $1 AND i.status = ANY ($2) AND i.number < $3
ORDER BY i.customer_sequence DESC
LIMIT $4;

-- name: archive :exec
-- params: $1 invoice_id text, $2 archived_at timestamptz, $3 archive_reason text
-- why: issued to archived and from nowhere else; 0 rows otherwise
UPDATE invoices
SET status = 'archived', archived_at = $2, archive_reason = $3
WHERE invoice_id = $1 AND status = 'issued';

-- name: mark_paid :exec
-- params: $1 invoice_id text, $2 paid_at timestamptz
-- why: issued to paid and from nowhere else; 0 rows otherwise
UPDATE invoices
SET status = 'paid', payment_status = 'succeeded', paid_at = $2
WHERE invoice_id = $1 AND status = 'issued';

-- name: set_payment_status :exec
-- params: $1 invoice_id text, $2 payment_status text
-- why: how the last attempt to collect it stands, while it is issued
UPDATE invoices
SET payment_status = $2
WHERE invoice_id = $1 AND status = 'issued';

-- name: page_of_customers :many
-- params: $1 first_no int4, $2 last_no int4, $3 after_customer_no int4, $4 after_sequence int4, $5 row_limit int8
-- why: what some customers were issued, oldest first, by invoices_customer_sequence_once
SELECT i.invoice_id, i.number, i.customer_no, c.customer_id, i.customer_sequence, i.status,
    i.payment_status, i.currency, i.total_minor, i.period_start, i.period_end, i.cutoff,
    i.calculation_id, i.archive_reason, i.created_at, i.paid_at, i.archived_at
FROM invoices AS i
JOIN customers AS c ON c.customer_no = i.customer_no
WHERE i.customer_no BETWEEN $1 AND $2
    AND (i.customer_no, i.customer_sequence) > ($3, $4) AND i.number IS NOT NULL
ORDER BY i.customer_no, i.customer_sequence
LIMIT $5;
