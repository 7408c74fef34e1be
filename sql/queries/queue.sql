-- name: enqueue :exec
-- params: $1 kind text, $2 payload jsonb, $3 priority smallint, $4 due_at timestamptz
-- params: $5 attempts_max integer, $6 unique_key text
-- why: in the caller's transaction; 0 rows when a job of that key is still to run or running
INSERT INTO jobs (kind, payload, priority, due_at, attempts_max, unique_key)
VALUES ($1, $2, $3, coalesce($4, now()), $5, $6)
ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND state IN ('available', 'running')
DO NOTHING;

-- name: enqueue_many :exec
-- params: $1 kind text, $2 payloads jsonb[], $3 priority smallint, $4 due_at timestamptz
-- params: $5 attempts_max integer, $6 unique_keys text[]
-- why: one statement for a batch; unique_keys has an element, perhaps null, for each payload
INSERT INTO jobs (kind, payload, priority, due_at, attempts_max, unique_key)
SELECT $1, batch.payload, $3, coalesce($4, now()), $5, batch.unique_key
FROM unnest($2::jsonb[], $6::text[]) WITH ORDINALITY AS batch (payload, unique_key, position)
ORDER BY batch.position
ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND state IN ('available', 'running')
DO NOTHING;

-- name: cancel :exec
-- params: $1 unique_key text
-- why: only what has not begun; a running job is left to finish
UPDATE jobs SET state = 'cancelled', finished_at = now()
WHERE unique_key = $1 AND state = 'available';

-- name: settle_and_claim :many
-- params: $1 done_job_ids bigint[], $2 done_lease_ids uuid[], $3 priorities smallint[]
-- params: $4 kinds text[], $5 claim_max bigint, $6 lease_id uuid, $7 lease interval
-- params: $8 clock timestamptz, $9 after_due_at timestamptz[], $10 after_job_ids bigint[]
-- why: completing a batch and leasing the next is one statement and one commit; ANY(ARRAY(...))
-- keeps the LIMIT and the index whatever the statistics say; the lease fences off stale workers;
-- width_bucket finds a job's lease in the ascending ids, where a join may read the whole backlog;
-- each priority goes on after the place given for it, past what vacuum has not removed yet
WITH completed AS (
    DELETE FROM jobs
    WHERE job_id = ANY ($1::bigint[])
      AND lease_id = ($2::uuid[])[width_bucket(job_id, $1::bigint[])]
),
claimed AS (
    UPDATE jobs
    SET state = 'running',
        attempt = attempt + 1,
        lease_id = $6,
        leased_until = greatest($8::timestamptz, now()) + $7::interval
    WHERE ctid = ANY (ARRAY(
        SELECT due.place
        FROM unnest($3::smallint[], $9::timestamptz[], $10::bigint[])
            AS level (priority, after_due_at, after_job_id)
        CROSS JOIN LATERAL (
            SELECT candidate.ctid AS place
            FROM jobs AS candidate
            WHERE candidate.state = 'available'
              AND candidate.priority = level.priority
              AND (candidate.due_at, candidate.job_id) > (level.after_due_at, level.after_job_id)
              AND candidate.due_at <= greatest($8::timestamptz, now())
              AND candidate.kind = ANY ($4)
            ORDER BY candidate.due_at, candidate.job_id
            LIMIT $5
            FOR UPDATE SKIP LOCKED
        ) AS due
        LIMIT $5
    ))
    RETURNING job_id, kind, payload, attempt, attempts_max, priority, due_at
)
SELECT job_id, kind, payload, attempt, attempts_max, priority, due_at
FROM claimed
ORDER BY priority, due_at, job_id;

-- name: settle :exec
-- params: $1 done_job_ids bigint[], $2 done_lease_ids uuid[]
-- why: completes what is done when nothing more is wanted; the ids ascend
DELETE FROM jobs
WHERE job_id = ANY ($1::bigint[])
  AND lease_id = ($2::uuid[])[width_bucket(job_id, $1::bigint[])];

-- name: give_back :exec
-- params: $1 job_ids bigint[], $2 lease_ids uuid[], $3 delay interval, $4 error text
-- params: $5 attempts_unspent integer, $6 clock timestamptz
-- why: to run again after the delay; not if somebody has taken over the lease; the ids ascend
UPDATE jobs
SET state = 'available',
    lease_id = NULL,
    leased_until = NULL,
    attempt = attempt - $5::integer,
    due_at = greatest($6::timestamptz, now()) + $3::interval,
    last_error = coalesce($4, last_error)
WHERE job_id = ANY ($1::bigint[])
  AND lease_id = ($2::uuid[])[width_bucket(job_id, $1::bigint[])];

-- name: discard :exec
-- params: $1 job_id bigint, $2 lease_id uuid, $3 error text, $4 clock timestamptz
-- why: never again; the row stays for FINISHED_KEPT with its error
UPDATE jobs
SET state = 'discarded',
    lease_id = NULL,
    leased_until = NULL,
    finished_at = greatest($4::timestamptz, now()),
    last_error = $3
WHERE job_id = $1 AND lease_id = $2;

-- name: renew :many
-- params: $1 job_ids bigint[], $2 lease_ids uuid[], $3 lease interval, $4 clock timestamptz
-- why: for as long as the handler runs; whatever is not answered has been taken over; the ids
-- ascend
UPDATE jobs
SET leased_until = greatest($4::timestamptz, now()) + $3::interval
WHERE job_id = ANY ($1::bigint[])
  AND lease_id = ($2::uuid[])[width_bucket(job_id, $1::bigint[])]
RETURNING job_id;

-- name: take_over :exec
-- params: $1 claim_max bigint, $2 clock timestamptz
-- why: leases that ran out, of workers that died; the attempt counts, so a job that kills its
-- worker ends too
UPDATE jobs
SET state = CASE WHEN attempt < attempts_max THEN 'available' ELSE 'discarded' END,
    finished_at = CASE WHEN attempt >= attempts_max THEN greatest($2, now()) END,
    lease_id = NULL,
    leased_until = NULL,
    last_error = 'its worker was lost: the lease ran out'
WHERE job_id = ANY (ARRAY(
    SELECT lapsed.job_id
    FROM jobs AS lapsed
    WHERE lapsed.state = 'running' AND lapsed.leased_until < greatest($2, now())
    ORDER BY lapsed.leased_until
    LIMIT $1
    FOR UPDATE SKIP LOCKED
));

-- name: next_due :one
-- params: $1 priorities smallint[], $2 kinds text[], $3 clock timestamptz
-- why: how long an idle worker may sleep; null when nothing waits
SELECT min(soonest.due_at) - greatest($3, now()) AS wait
FROM unnest($1::smallint[]) AS level (priority)
CROSS JOIN LATERAL (
    SELECT candidate.due_at
    FROM jobs AS candidate
    WHERE candidate.state = 'available'
      AND candidate.priority = level.priority
      AND candidate.kind = ANY ($2)
    ORDER BY candidate.due_at, candidate.job_id
    LIMIT 1
) AS soonest;

-- name: tick :exec
-- params: $1 names text[], $2 every interval[], $3 kinds text[], $4 payloads jsonb[]
-- params: $5 priorities smallint[], $6 attempts_max integer[], $7 clock timestamptz
-- why: whoever moves a schedule's row to the current tick enqueues its job, in one statement; read
-- first, so that the many looks that find nothing to do write nothing
WITH schedule AS (
    SELECT wanted.name, wanted.kind, wanted.payload, wanted.priority, wanted.attempts_max,
           date_bin(wanted.every, greatest($7, now()), TIMESTAMPTZ '2000-01-01 00:00:00+00') AS tick
    FROM unnest($1::text[], $2::interval[], $3::text[], $4::jsonb[], $5::smallint[], $6::integer[])
        AS wanted (name, every, kind, payload, priority, attempts_max)
),
moved AS (
    INSERT INTO job_schedules AS kept (name, last_tick)
    SELECT schedule.name, schedule.tick
    FROM schedule
    WHERE NOT EXISTS (
        SELECT FROM job_schedules AS seen
        WHERE seen.name = schedule.name AND seen.last_tick >= schedule.tick
    )
    ORDER BY schedule.name
    ON CONFLICT (name) DO UPDATE SET last_tick = excluded.last_tick
        WHERE kept.last_tick < excluded.last_tick
    RETURNING kept.name
)
INSERT INTO jobs (kind, payload, priority, due_at, attempts_max, unique_key)
SELECT schedule.kind, schedule.payload, schedule.priority, schedule.tick, schedule.attempts_max,
       'schedule:' || schedule.name
FROM schedule
JOIN moved USING (name)
ORDER BY schedule.name
ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND state IN ('available', 'running')
DO NOTHING;

-- name: purge :exec
-- params: $1 kept interval, $2 purge_max bigint, $3 clock timestamptz
-- why: bounds the table; oldest first
DELETE FROM jobs
WHERE job_id = ANY (ARRAY(
    SELECT finished.job_id
    FROM jobs AS finished
    WHERE finished.finished_at < greatest($3::timestamptz, now()) - $1::interval
    ORDER BY finished.finished_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
));

-- name: depth :many
-- params: $1 rows_max bigint
-- why: for the gauges; reads the whole table, so at a scrape's pace
SELECT kind, state, count(*) AS jobs
FROM jobs
WHERE state IN ('available', 'running', 'discarded')
GROUP BY kind, state
ORDER BY kind, state
LIMIT $1;
