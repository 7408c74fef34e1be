-- abaxus: scope mode
-- Collecting an invoice: attempts to charge it, and the mail that carries it.

-- One row is one attempt; the request's bytes are frozen before anything leaves.
CREATE TABLE payments (
    payment_id          text        NOT NULL,
    invoice_id          text        NOT NULL,
    provider            text        NOT NULL,
    account_fingerprint text        NOT NULL,
    attempt_id          uuid        NOT NULL,
    idempotency_key     uuid        NOT NULL,
    amount_minor        numeric     NOT NULL,
    currency            text        NOT NULL,
    request             jsonb       NOT NULL,
    request_sha256      bytea       NOT NULL,
    state               text        NOT NULL,
    sends               integer     NOT NULL DEFAULT 0,
    maybe_executed      boolean     NOT NULL DEFAULT false,
    first_sent_at       timestamptz,
    last_sent_at        timestamptz,
    lease_id            uuid,
    leased_until        timestamptz,
    next_check_at       timestamptz,
    checks              integer     NOT NULL DEFAULT 0,
    provider_payment_id text,
    code                text,
    provider_code       text,
    retry               text,
    outcome             jsonb,
    created_at          timestamptz NOT NULL,
    settled_at          timestamptz,
    CONSTRAINT payments_pkey PRIMARY KEY (payment_id),
    CONSTRAINT payments_invoice FOREIGN KEY (invoice_id) REFERENCES invoices,
    CONSTRAINT payments_attempt_once UNIQUE (attempt_id),
    CONSTRAINT payments_idempotency_key_once UNIQUE (idempotency_key),
    CONSTRAINT payments_state_known CHECK (state IN (
        'created', 'sending', 'transient', 'unknown', 'pending', 'requires_action',
        'needs_operator', 'succeeded', 'declined', 'rejected', 'not_charged'
    )),
    CONSTRAINT payments_lease_while_sending CHECK ((state = 'sending') = (lease_id IS NOT NULL)),
    CONSTRAINT payments_settled_when_final CHECK (
        (state IN ('succeeded', 'declined', 'rejected', 'not_charged')) = (settled_at IS NOT NULL)
    )
);

-- One live attempt per invoice, and one success, whatever the code does.
CREATE UNIQUE INDEX payments_one_live ON payments (invoice_id) WHERE state IN (
    'created', 'sending', 'transient', 'unknown', 'pending', 'requires_action', 'needs_operator'
);
CREATE UNIQUE INDEX payments_one_success ON payments (invoice_id) WHERE state = 'succeeded';
CREATE INDEX payments_of_invoice ON payments (invoice_id, created_at DESC);
CREATE INDEX payments_due ON payments (next_check_at) WHERE state IN (
    'created', 'sending', 'transient', 'unknown', 'pending', 'requires_action'
);

-- The Message-ID and the bytes are fixed before the first delivery, so that a resend is the same mail.
CREATE TABLE email_messages (
    email_id    text        NOT NULL,
    invoice_id  text        NOT NULL,
    recipient   text        NOT NULL,
    message     jsonb       NOT NULL,
    provider    text        NOT NULL,
    state       text        NOT NULL,
    attempts    integer     NOT NULL DEFAULT 0,
    provider_message_id text,
    error       text,
    created_at  timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT email_messages_pkey PRIMARY KEY (email_id),
    CONSTRAINT email_messages_invoice FOREIGN KEY (invoice_id) REFERENCES invoices,
    CONSTRAINT email_messages_state_known CHECK (state IN ('queued', 'sent', 'failed'))
);
CREATE INDEX email_messages_of_invoice ON email_messages (invoice_id, created_at DESC);
CREATE INDEX email_messages_queued ON email_messages (email_id) WHERE state = 'queued';
