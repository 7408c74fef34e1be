-- abaxus: scope mode
-- How the amount of a line without tiers comes about: a price, a number of packages, days of a fee.

ALTER TABLE invoice_lines ADD COLUMN step jsonb;
