-- abaxus: scope mode
-- What a customer is granted, worked out whenever it changes, so that a check reads one row
-- (docs/decisions/0018-resolved-entitlements.md).

-- Each change raises version first, which lets one customer's changes follow each other. It starts
-- from the time in microseconds, and follows it, so that a version that processes remember never
-- comes again with another document, not even where a failover or a restore lost commits. A customer
-- without a row, or with a document of another release, is given one when asked for; document is
-- null where its next reader is to work it out.
CREATE TABLE entitlement_documents (
    customer_no integer NOT NULL,
    version     bigint  NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    document    jsonb,
    CONSTRAINT entitlement_documents_pkey PRIMARY KEY (customer_no),
    CONSTRAINT entitlement_documents_customer FOREIGN KEY (customer_no) REFERENCES customers
) WITH (fillfactor = 70);
