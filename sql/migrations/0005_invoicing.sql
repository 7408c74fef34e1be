-- abaxus: scope mode
-- Invoices by the true-up principle (docs/decisions/0005-true-up.md): a line is owed - billed.

CREATE TABLE counters (
    name  text   NOT NULL,
    value bigint NOT NULL,
    CONSTRAINT counters_pkey PRIMARY KEY (name)
);
INSERT INTO counters (name, value) VALUES ('invoice', 0);

-- customer_sequence: an invoice is computed from the customer's state after the one before it, and
-- only one invoice can follow that. This constraint is what keeps usage from being billed twice.
-- number is null only inside the transaction that issues: its last statement takes the numbers, so
-- that the one counter is held for moments and what rolls back leaves no gap.
CREATE TABLE invoices (
    invoice_id        text        NOT NULL,
    number            bigint,
    customer_no       integer     NOT NULL,
    customer_sequence integer     NOT NULL,
    status            text        NOT NULL,
    payment_status    text,
    currency          text        NOT NULL,
    total_minor       numeric     NOT NULL,
    period_start      timestamptz NOT NULL,
    period_end        timestamptz NOT NULL,
    cutoff            timestamptz NOT NULL,
    calculation_id    text,
    archive_reason    text,
    created_at        timestamptz NOT NULL,
    paid_at           timestamptz,
    archived_at       timestamptz,
    CONSTRAINT invoices_pkey PRIMARY KEY (invoice_id),
    CONSTRAINT invoices_number_once UNIQUE (number),
    CONSTRAINT invoices_customer_sequence_once UNIQUE (customer_no, customer_sequence),
    CONSTRAINT invoices_customer FOREIGN KEY (customer_no) REFERENCES customers,
    CONSTRAINT invoices_status_known CHECK (status IN ('issued', 'paid', 'archived')),
    CONSTRAINT invoices_payment_status_known CHECK (
        payment_status IN ('processing', 'requires_action', 'failed', 'unknown', 'succeeded')
    ),
    CONSTRAINT invoices_total_not_negative CHECK (total_minor >= 0),
    CONSTRAINT invoices_paid_at_when_paid CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT invoices_archived_at_when_archived CHECK (
        (status = 'archived') = (archived_at IS NOT NULL)
    )
);
CREATE INDEX invoices_of_status ON invoices (status, number);

-- revision counts the lines of one charge in one segment of one period: 1 the first time it is
-- billed, 2 and on for true-ups. The window, [segment_start, window_end), is the usage it was rated on.
CREATE TABLE invoice_lines (
    invoice_id              text        NOT NULL,
    line_no                 integer     NOT NULL,
    kind                    text        NOT NULL,
    description             text        NOT NULL,
    charge_id               text,
    pricing_model           text,
    metric_key              text,
    subscription_id         text,
    plan_id                 text,
    plan_version            integer,
    period_start            timestamptz,
    period_end              timestamptz,
    segment_start           timestamptz,
    segment_end             timestamptz,
    window_end              timestamptz,
    revision                integer,
    quantity                numeric,
    exact_amount            numeric     NOT NULL,
    amount_minor            numeric     NOT NULL,
    owed_minor              numeric,
    previously_billed_minor numeric,
    tier_breakdown          jsonb,
    event_count             bigint,
    digest                  numeric,
    watermark               bigint,
    CONSTRAINT invoice_lines_pkey PRIMARY KEY (invoice_id, line_no),
    CONSTRAINT invoice_lines_invoice FOREIGN KEY (invoice_id) REFERENCES invoices,
    CONSTRAINT invoice_lines_billed_once UNIQUE (
        subscription_id, period_start, segment_start, charge_id, revision
    ),
    CONSTRAINT invoice_lines_kind_known CHECK (
        kind IN ('usage', 'flat_fee', 'proration_credit', 'proration_charge', 'adjustment',
                 'credit_applied')
    ),
    CONSTRAINT invoice_lines_trued_up CHECK (
        amount_minor = owed_minor - previously_billed_minor
    ),
    CONSTRAINT invoice_lines_of_a_charge_whole CHECK (
        (kind = 'credit_applied') = (charge_id IS NULL)
        AND (charge_id IS NULL) = (subscription_id IS NULL)
        AND (charge_id IS NULL) = (period_start IS NULL)
        AND (charge_id IS NULL) = (segment_start IS NULL)
        AND (charge_id IS NULL) = (revision IS NULL)
        AND (charge_id IS NULL) = (owed_minor IS NULL)
        AND (charge_id IS NULL) = (previously_billed_minor IS NULL)
    )
);

-- What an invoice left over (positive) or used up (negative); the sum is the customer's credit.
CREATE TABLE customer_credits (
    invoice_id   text        NOT NULL,
    customer_no  integer     NOT NULL,
    amount_minor numeric     NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT customer_credits_pkey PRIMARY KEY (invoice_id),
    CONSTRAINT customer_credits_invoice FOREIGN KEY (invoice_id) REFERENCES invoices
);
CREATE INDEX customer_credits_of_customer ON customer_credits (customer_no);

CREATE TABLE calculations (
    calculation_id    text        NOT NULL,
    customer_no       integer     NOT NULL,
    customer_sequence integer     NOT NULL,
    period_start      timestamptz NOT NULL,
    period_end        timestamptz NOT NULL,
    currency          text,
    total_minor       numeric     NOT NULL,
    line_items        jsonb       NOT NULL,
    created_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    CONSTRAINT calculations_pkey PRIMARY KEY (calculation_id)
);
CREATE INDEX calculations_expiry ON calculations (expires_at);

-- A bulk invoice run as callers see it (GET /v1/jobs/{id}). Planning hands out customers in order of
-- their numbers, in steps; planned_through says how far it is, so that a repeated step goes on.
CREATE TABLE bulk_runs (
    bulk_run_id     text        NOT NULL,
    status          text        NOT NULL,
    cutoff          timestamptz NOT NULL,
    charge          boolean     NOT NULL,
    send            boolean     NOT NULL,
    actor           text        NOT NULL,
    planned_through integer     NOT NULL DEFAULT 0,
    planned         boolean     NOT NULL DEFAULT false,
    total           integer     NOT NULL DEFAULT 0,
    created         integer     NOT NULL DEFAULT 0,
    skipped         integer     NOT NULL DEFAULT 0,
    failed          integer     NOT NULL DEFAULT 0,
    error           text,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    CONSTRAINT bulk_runs_pkey PRIMARY KEY (bulk_run_id),
    CONSTRAINT bulk_runs_status_known CHECK (
        status IN ('queued', 'running', 'completed', 'failed', 'cancelled')
    ),
    CONSTRAINT bulk_runs_done_within_total CHECK (created + skipped + failed <= total),
    CONSTRAINT bulk_runs_finished_when_final CHECK (
        (status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)
    )
) WITH (fillfactor = 50);

-- What became of each customer of a run, once, in the transaction of its invoice: where a run that
-- was cut off goes on.
CREATE TABLE bulk_run_customers (
    bulk_run_id   text    NOT NULL,
    customer_no   integer NOT NULL,
    outcome       text    NOT NULL,
    invoice_id    text,
    error_code    text,
    error_message text,
    CONSTRAINT bulk_run_customers_pkey PRIMARY KEY (bulk_run_id, customer_no),
    CONSTRAINT bulk_run_customers_run FOREIGN KEY (bulk_run_id) REFERENCES bulk_runs,
    CONSTRAINT bulk_run_customers_outcome_known CHECK (outcome IN ('created', 'skipped', 'failed')),
    CONSTRAINT bulk_run_customers_invoice_when_created CHECK (
        (outcome = 'created') = (invoice_id IS NOT NULL)
    ),
    CONSTRAINT bulk_run_customers_error_when_failed CHECK (
        (outcome = 'failed') = (error_code IS NOT NULL)
    )
);
CREATE INDEX bulk_run_customers_failed ON bulk_run_customers (bulk_run_id, customer_no)
    WHERE outcome = 'failed';
