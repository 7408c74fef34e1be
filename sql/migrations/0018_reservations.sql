-- abaxus: scope mode
-- Reservations: room under a limit, held until it is committed, released or its time is up
-- (docs/decisions/0020-reservations.md).

-- What is reserved of a customer's feature. Whoever decides by it or changes it holds its row: that
-- is all that keeps two callers from being given the same room. `committed` is what was committed
-- without an event, and counts until `committed_until`. Nobody decides by an instant before
-- decided_at: a process whose clock is behind would look at a period that is over.
CREATE TABLE reservation_tallies (
    customer_no     integer NOT NULL,
    feature_key     text    NOT NULL,
    held            numeric NOT NULL DEFAULT 0,
    committed       numeric NOT NULL DEFAULT 0,
    committed_until timestamptz,
    decided_at      timestamptz,
    CONSTRAINT reservation_tallies_pkey PRIMARY KEY (customer_no, feature_key),
    CONSTRAINT reservation_tallies_customer FOREIGN KEY (customer_no) REFERENCES customers,
    CONSTRAINT reservation_tallies_not_negative CHECK (held >= 0 AND committed >= 0),
    CONSTRAINT reservation_tallies_committed_until CHECK (
        committed = 0 OR committed_until IS NOT NULL
    )
) WITH (fillfactor = 50);

-- metric_nos: what the feature counted when it was reserved. An event that commits it is of one of
-- these, and dated from counts_from on.
CREATE TABLE reservations (
    reservation_id     text            NOT NULL,
    customer_no        integer         NOT NULL,
    feature_key        text            NOT NULL,
    metric_nos         integer[]       NOT NULL,
    quantity           numeric(38, 10) NOT NULL,
    status             text            NOT NULL DEFAULT 'held',
    committed_quantity numeric(38, 10),
    event_id           text,
    counts_from        timestamptz     NOT NULL,
    expires_at         timestamptz     NOT NULL,
    created_at         timestamptz     NOT NULL,
    settled_at         timestamptz,
    CONSTRAINT reservations_pkey PRIMARY KEY (reservation_id),
    CONSTRAINT reservations_tally FOREIGN KEY (customer_no, feature_key)
        REFERENCES reservation_tallies,
    CONSTRAINT reservations_event_once UNIQUE (event_id),
    CONSTRAINT reservations_status_known CHECK (
        status IN ('held', 'committed', 'released', 'expired')
    ),
    CONSTRAINT reservations_quantity_positive CHECK (quantity > 0),
    CONSTRAINT reservations_settled_whole CHECK ((status = 'held') = (settled_at IS NULL)),
    CONSTRAINT reservations_committed_whole CHECK (
        (status = 'committed') = (committed_quantity IS NOT NULL)
        AND (event_id IS NULL OR status = 'committed')
    ),
    CONSTRAINT reservations_committed_within CHECK (
        committed_quantity > 0 AND committed_quantity <= quantity
    )
);

CREATE INDEX reservations_held ON reservations (customer_no, feature_key, expires_at)
    WHERE status = 'held';
-- The predicate says the same in other words: so that whoever ends what has run out of one feature
-- is never planned to walk over what has run out of all.
CREATE INDEX reservations_running_out ON reservations (expires_at) WHERE settled_at IS NULL;
CREATE INDEX reservations_settled ON reservations (settled_at) WHERE settled_at IS NOT NULL;
