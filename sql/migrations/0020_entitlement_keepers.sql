-- abaxus: scope mode
-- Whom a change of entitlements waits for (docs/decisions/0023-checks-from-memory.md).

-- A process that gives what it has kept without asking first, for as long as a change waits for it.
-- renewed_at: when it last said so; a process that has not for long is gone.
CREATE TABLE entitlement_keepers (
    keeper_id  uuid        NOT NULL,
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT entitlement_keepers_pkey PRIMARY KEY (keeper_id)
);
