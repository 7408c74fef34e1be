-- abaxus: scope mode
-- Payments listed, newest first, and what a provider asks for: not to be asked again before.

ALTER TABLE payments ADD COLUMN retry_at timestamptz;

CREATE INDEX payments_of_state ON payments (state, payment_id);
