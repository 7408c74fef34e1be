-- abaxus: scope mode
-- Whose entitlements a kept answer is about: whoever gives it again tells the cache again, since the
-- process that gave it first may have died between its commit and telling.

ALTER TABLE idempotency_keys ADD COLUMN entitled text[] NOT NULL DEFAULT '{}';
