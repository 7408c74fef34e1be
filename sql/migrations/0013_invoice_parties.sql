-- abaxus: scope mode
-- Who issued an invoice and to whom, as it was then: its documents stay what they are.

ALTER TABLE invoices
    ADD COLUMN buyer_name text,
    ADD COLUMN buyer_email text,
    ADD COLUMN seller jsonb;
