-- name: insert :exec
-- params: $1 email_id text, $2 invoice_id text, $3 recipient text, $4 message jsonb, $5 provider text, $6 created_at timestamptz
-- why: the mail is whole before it is delivered for the first time
INSERT INTO email_messages (email_id, invoice_id, recipient, message, provider, state, created_at)
VALUES ($1, $2, $3, $4, $5, 'queued', $6);

-- name: latest_of_invoices :many
-- params: $1 invoice_ids text[]
-- why: how the last mail of each invoice fares, by email_messages_of_invoice
SELECT e.email_id, e.invoice_id, e.recipient, e.provider, e.state, e.attempts,
    e.provider_message_id, e.error, e.created_at, e.finished_at
FROM unnest($1::text[]) AS wanted (invoice_id)
CROSS JOIN LATERAL (
    SELECT email_id, invoice_id, recipient, provider, state, attempts, provider_message_id, error,
        created_at, finished_at
    FROM email_messages
    WHERE invoice_id = wanted.invoice_id
    ORDER BY created_at DESC, email_id DESC
    LIMIT 1
) AS e;

-- name: unattached :maybe
-- params: $1 email_id text
-- why: a mail that is still to be delivered and lacks its document
SELECT invoice_id
FROM email_messages
WHERE email_id = $1 AND state = 'queued' AND message -> 'attachments' = '[]'::jsonb;

-- name: attach :exec
-- params: $1 email_id text, $2 attachments jsonb
-- why: before the first delivery and once, so that every delivery has the same bytes
UPDATE email_messages
SET message = jsonb_set(message, '{attachments}', $2::jsonb)
WHERE email_id = $1 AND state = 'queued' AND message -> 'attachments' = '[]'::jsonb;

-- name: begin_delivery :maybe
-- params: $1 email_id text, $2 provider text
-- why: counts the delivery before it happens, unless the mail is finished; the bytes come along
UPDATE email_messages
SET attempts = attempts + 1, provider = $2
WHERE email_id = $1 AND state = 'queued'
RETURNING invoice_id, attempts, message;

-- name: finish :exec
-- params: $1 email_id text, $2 state text, $3 provider_message_id text, $4 error text, $5 finished_at timestamptz
-- why: queued to sent or failed, once; its attachment, which could be made again, is let go
UPDATE email_messages
SET state = $2, provider_message_id = $3, error = $4, finished_at = $5,
    message = jsonb_set(message, '{attachments}', '[]'::jsonb)
WHERE email_id = $1 AND state = 'queued';

-- name: note_error :exec
-- params: $1 email_id text, $2 error text
-- why: why the last delivery did not succeed, while there will be another
UPDATE email_messages
SET error = $2
WHERE email_id = $1 AND state = 'queued';

-- name: abandoned :many
-- params: $1 row_limit int8
-- why: mails whose job gave up or died with its worker, by email_messages_queued; in one statement, for a mail is finished before its job is
SELECT e.email_id, e.invoice_id, e.recipient, e.provider, e.state, e.attempts,
    e.provider_message_id, e.error, e.created_at, e.finished_at
FROM email_messages AS e
WHERE e.state = 'queued'
    AND NOT EXISTS (
        SELECT
        FROM jobs AS j
        WHERE j.state IN ('available', 'running') AND j.unique_key = e.email_id
    )
ORDER BY e.email_id
LIMIT $1;
