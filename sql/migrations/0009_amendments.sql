-- abaxus: scope mode
-- Amendments: what is to become of a subscription, each a row of its own (docs/amendments.md).

-- applied_no counts a subscription's applied amendments, from 1, in the order of taking effect: what
-- was applied once cannot be again.
CREATE TABLE amendments (
    amendment_id    text        NOT NULL,
    subscription_id text        NOT NULL,
    type            text        NOT NULL,
    effective       text        NOT NULL,
    effective_at    timestamptz NOT NULL,
    status          text        NOT NULL DEFAULT 'pending',
    plan_id         text,
    plan_version    integer,
    prorate         boolean     NOT NULL,
    resume_at       timestamptz,
    end_at          timestamptz,
    reason          text,
    failure         text,
    applied_no      integer,
    applied_at      timestamptz,
    created_at      timestamptz NOT NULL,
    CONSTRAINT amendments_pkey PRIMARY KEY (amendment_id),
    CONSTRAINT amendments_subscription FOREIGN KEY (subscription_id) REFERENCES subscriptions,
    CONSTRAINT amendments_plan FOREIGN KEY (plan_id, plan_version)
        REFERENCES price_plan_versions (plan_id, version),
    CONSTRAINT amendments_applied_once UNIQUE (subscription_id, applied_no),
    CONSTRAINT amendments_type_known CHECK (
        type IN ('plan_change', 'pause', 'resume', 'cancel', 'end_date_change')
    ),
    CONSTRAINT amendments_status_known CHECK (
        status IN ('pending', 'applied', 'cancelled', 'failed')
    ),
    CONSTRAINT amendments_plan_of_a_change CHECK (
        (type = 'plan_change') = (plan_id IS NOT NULL)
        AND (plan_id IS NULL) = (plan_version IS NULL)
    ),
    CONSTRAINT amendments_applied_whole CHECK (
        (status = 'applied') = (applied_no IS NOT NULL)
        AND (status = 'applied') = (applied_at IS NOT NULL)
    ),
    CONSTRAINT amendments_failed_with_why CHECK ((status = 'failed') = (failure IS NOT NULL))
);

CREATE INDEX amendments_of_subscription ON amendments (subscription_id, amendment_id);
CREATE INDEX amendments_pending ON amendments (effective_at) WHERE status = 'pending';

-- lasts_until: the end that amendments leave the subscription with; amendments_applied: how many.
ALTER TABLE subscriptions
    ADD COLUMN lasts_until timestamptz,
    ADD COLUMN amendments_applied integer NOT NULL DEFAULT 0;
UPDATE subscriptions SET lasts_until = end_at WHERE end_at IS NOT NULL;

-- Stretches of the window whose events do not count, as [{"start", "end"}].
ALTER TABLE invoice_lines ADD COLUMN pauses jsonb NOT NULL DEFAULT '[]';

-- How many amendments of the customer's subscriptions it knew: one more outdates it.
ALTER TABLE calculations ADD COLUMN amendments_applied bigint NOT NULL DEFAULT 0;
