-- abaxus: scope mode
-- When the events of a landing were, so that usage of a billing period that begins or ends within the
-- day follows from what was added to it (docs/decisions/0022-kept-snapshots.md).

-- When the first and the last of the events were that the last landing added to the day. A release from
-- before leaves them as they are.
ALTER TABLE usage_daily
    ADD COLUMN first_added_at timestamptz,
    ADD COLUMN last_added_at timestamptz;

-- Of the usages at the same places: null where it is not known.
ALTER TABLE entitlement_changes
    ADD COLUMN first_added_at timestamptz[],
    ADD COLUMN last_added_at timestamptz[];

-- What was written before is not looked at: it has no such columns, and is forgotten soon.
ALTER TABLE entitlement_changes
    DROP CONSTRAINT entitlement_changes_at_the_same_places,
    ADD CONSTRAINT entitlement_changes_at_the_same_places CHECK (
        CASE
            WHEN metric_nos IS NULL
                THEN num_nonnulls(days, added, first_added_at, last_added_at) = 0
            ELSE (
                cardinality(metric_nos) = cardinality(customer_nos)
                AND cardinality(days) = cardinality(customer_nos)
                AND cardinality(added) = cardinality(customer_nos)
                AND cardinality(first_added_at) = cardinality(customer_nos)
                AND cardinality(last_added_at) = cardinality(customer_nos)
            ) IS TRUE
        END
    ) NOT VALID;

-- A landing tells of the days it began and of those it added to, and between which instants. Whoever
-- writes by hand, or in a release from before, leaves the instants of an earlier landing, which say
-- nothing of what was written. Past so many it is all the same to a process which they were.
CREATE OR REPLACE FUNCTION tell_usage_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    told_max CONSTANT integer := 4096;
    customers integer[];
    metrics integer[];
    days date[];
    added numeric[];
    firsts timestamptz[];
    lasts timestamptz[];
BEGIN
    IF tg_op = 'INSERT' THEN
        SELECT array_agg(now_is.customer_no), array_agg(now_is.metric_no), array_agg(now_is.day),
            array_agg(CASE m.aggregation
                WHEN 'sum' THEN now_is.value_sum
                WHEN 'count' THEN now_is.event_count
                WHEN 'max' THEN now_is.value_max
                WHEN 'min' THEN now_is.value_min
            END),
            array_agg(now_is.first_added_at), array_agg(now_is.last_added_at)
        INTO customers, metrics, days, added, firsts, lasts
        FROM now_is LEFT JOIN metrics AS m USING (metric_no);
    ELSIF tg_op = 'UPDATE' THEN
        SELECT array_agg(customer_no), array_agg(metric_no), array_agg(day),
            array_agg(CASE m.aggregation
                WHEN 'sum' THEN now_is.value_sum - was.value_sum
                WHEN 'count' THEN now_is.event_count - was.event_count
                WHEN 'max' THEN CASE WHEN now_is.value_max >= was.value_max THEN now_is.value_max END
                WHEN 'min' THEN CASE WHEN now_is.value_min <= was.value_min THEN now_is.value_min END
            END),
            array_agg(CASE WHEN instants.are_new THEN now_is.first_added_at END),
            array_agg(CASE WHEN instants.are_new THEN now_is.last_added_at END)
        INTO customers, metrics, days, added, firsts, lasts
        FROM was
        FULL JOIN now_is USING (customer_no, metric_no, day)
        LEFT JOIN metrics AS m USING (metric_no)
        CROSS JOIN LATERAL (
            SELECT (now_is.first_added_at, now_is.last_added_at)
                IS DISTINCT FROM (was.first_added_at, was.last_added_at) AS are_new
        ) AS instants;
    ELSE
        SELECT array_agg(customer_no), array_agg(metric_no), array_agg(day),
            array_agg(NULL::numeric), array_agg(NULL::timestamptz), array_agg(NULL::timestamptz)
        INTO customers, metrics, days, added, firsts, lasts
        FROM was;
    END IF;
    IF cardinality(customers) <= told_max THEN
        INSERT INTO entitlement_changes
            (customer_nos, metric_nos, days, added, first_added_at, last_added_at)
        VALUES (customers, metrics, days, added, firsts, lasts);
    ELSIF cardinality(customers) > told_max THEN
        INSERT INTO entitlement_changes DEFAULT VALUES;
    END IF;
    RETURN NULL;
END
$$;
