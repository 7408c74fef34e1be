-- name: begin :exec
-- params: $1 customer_no int4, $2 document jsonb
-- why: a customer is born with the document of somebody who is granted nothing
INSERT INTO entitlement_documents (customer_no, document)
VALUES ($1, $2);

-- name: claim :many
-- params: $1 customer_ids text[]
-- why: holds the documents of some customers before what they follow from is read, so that of two changes the later sees the earlier; in ascending order and last in the transaction, so that nobody waits in a circle; customers of older releases have no row yet
INSERT INTO entitlement_documents AS d (customer_no)
SELECT customer_no
FROM customers
WHERE customer_id = ANY ($1)
ORDER BY customer_no
ON CONFLICT ON CONSTRAINT entitlement_documents_pkey DO UPDATE SET
    version = greatest(d.version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
RETURNING d.customer_no;

-- name: store :exec
-- params: $1 customer_nos int4[], $2 documents text[]
-- why: held since claim
UPDATE entitlement_documents AS d
SET document = made.document::jsonb
FROM unnest($1::integer[], $2::text[]) AS made (customer_no, document)
WHERE d.customer_no = made.customer_no;

-- name: stored :many
-- params: $1 customer_nos int4[]
-- why: what is kept of some customers, to be held against what it follows from
SELECT customer_no, document
FROM entitlement_documents
WHERE customer_no = ANY ($1) AND document IS NOT NULL;

-- name: look :many
-- params: $1 customer_id text[], $2 known_version int8[], $3 window int4[], $4 metric_no int4[], $5 aggregation text[], $6 from_day date[], $7 first_day date[], $8 after_day date[], $9 to_day date[]
-- why: all checks that wait, in one statement, so that version and usage are of one instant; probes share a few windows, numbered from 1, which are sent once; a document only where its version is not the known one; usage by usage_daily's primary key: the aggregate of the days [first, after), and stamps that tell whether events were added to the days before and after
SELECT
    c.customer_no, d.version,
    CASE WHEN d.version IS DISTINCT FROM w.known_version THEN d.document END AS document,
    days.value, days.head, days.tail
FROM (
    SELECT customer_id, known_version, place,
        ($4::integer[])[number] AS metric_no, ($5::text[])[number] AS aggregation,
        ($6::date[])[number] AS from_day, ($7::date[])[number] AS first_day,
        ($8::date[])[number] AS after_day, ($9::date[])[number] AS to_day
    FROM unnest($1::text[], $2::bigint[], $3::integer[])
        WITH ORDINALITY AS asked (customer_id, known_version, number, place)
    OFFSET 0
) AS w
LEFT JOIN customers AS c ON c.customer_id = w.customer_id
LEFT JOIN entitlement_documents AS d ON d.customer_no = c.customer_no
CROSS JOIN LATERAL (
    SELECT
        CASE w.aggregation
            WHEN 'sum' THEN sum(u.value_sum) FILTER (WHERE u.day >= w.first_day AND u.day < w.after_day)
            WHEN 'count' THEN
                sum(u.event_count) FILTER (WHERE u.day >= w.first_day AND u.day < w.after_day)
            WHEN 'max' THEN max(u.value_max) FILTER (WHERE u.day >= w.first_day AND u.day < w.after_day)
            WHEN 'min' THEN min(u.value_min) FILTER (WHERE u.day >= w.first_day AND u.day < w.after_day)
            WHEN 'last' THEN (
                max(u.last_event) FILTER (WHERE u.day >= w.first_day AND u.day < w.after_day)
            )[3]
        END AS value,
        sum(u.event_count) FILTER (WHERE u.day < w.first_day)
            || ':' || sum(u.digest) FILTER (WHERE u.day < w.first_day) AS head,
        sum(u.event_count) FILTER (WHERE u.day >= w.after_day)
            || ':' || sum(u.digest) FILTER (WHERE u.day >= w.after_day) AS tail
    FROM usage_daily AS u
    WHERE u.customer_no = c.customer_no AND u.metric_no = w.metric_no
        AND u.day >= w.from_day AND u.day < w.to_day
) AS days
ORDER BY w.place;
