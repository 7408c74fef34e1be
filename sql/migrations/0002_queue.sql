-- abaxus: scope mode
-- The job queue (docs/decisions/0006-the-queue.md). A completed job is deleted; a cancelled or
-- discarded one stays a while, with its error.

CREATE TABLE jobs (
    job_id       bigint      GENERATED ALWAYS AS IDENTITY,
    kind         text        NOT NULL,
    payload      jsonb       NOT NULL,
    state        text        NOT NULL DEFAULT 'available',
    priority     smallint    NOT NULL,
    due_at       timestamptz NOT NULL,
    attempt      integer     NOT NULL DEFAULT 0,
    attempts_max integer     NOT NULL,
    unique_key   text,
    leased_until timestamptz,
    lease_id     uuid,
    last_error   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CONSTRAINT jobs_pkey PRIMARY KEY (job_id),
    CONSTRAINT jobs_state_known CHECK (state IN ('available', 'running', 'cancelled', 'discarded')),
    CONSTRAINT jobs_priority_known CHECK (priority IN (10, 100, 200)),
    CONSTRAINT jobs_attempts_bounded CHECK (attempts_max BETWEEN 1 AND 100),
    CONSTRAINT jobs_lease_while_running CHECK (
        (state = 'running') = (lease_id IS NOT NULL)
        AND (lease_id IS NULL) = (leased_until IS NULL)
    ),
    CONSTRAINT jobs_finished_when_final CHECK (
        (state IN ('cancelled', 'discarded')) = (finished_at IS NOT NULL)
    )
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

-- A claim walks it once per priority, so jobs of the future are never stepped over.
CREATE INDEX jobs_claimable ON jobs (priority, due_at, job_id) WHERE state = 'available';
CREATE INDEX jobs_leases ON jobs (leased_until) WHERE state = 'running';
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('available', 'running');

-- A periodic job is enqueued by whoever moves its row to the next tick.
CREATE TABLE job_schedules (
    name      text        NOT NULL,
    last_tick timestamptz NOT NULL,
    CONSTRAINT job_schedules_pkey PRIMARY KEY (name)
);
