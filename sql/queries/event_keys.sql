-- name: known :many
-- params: $1 customer_no int4[], $2 key_high int4[], $3 key_low int8[]
-- why: which keys are stored, by event_keys_once, one probe each
SELECT offer.ordinality::integer - 1 AS place, k.payload_hash
FROM unnest($1::integer[], $2::integer[], $3::bigint[])
    WITH ORDINALITY AS offer (customer_no, key_high, key_low, ordinality)
JOIN event_keys AS k
    ON k.customer_no = offer.customer_no AND k.key_high = offer.key_high
    AND k.key_low = offer.key_low;
