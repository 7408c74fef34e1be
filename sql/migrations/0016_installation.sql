-- abaxus: scope control
-- What this installation calls its own in a Redis that others may use, too
-- (docs/decisions/0019-the-entitlement-cache.md).

CREATE TABLE abaxus.installation (
    installation_id uuid    NOT NULL DEFAULT gen_random_uuid(),
    the_only_one    boolean NOT NULL DEFAULT true,
    CONSTRAINT installation_pkey PRIMARY KEY (the_only_one),
    CONSTRAINT installation_once CHECK (the_only_one)
);
INSERT INTO abaxus.installation DEFAULT VALUES;
