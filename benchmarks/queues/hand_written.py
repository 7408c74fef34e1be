"""The loop to be measured against: leased, a batch completed and the next leased in one statement.

A coroutine is awaited for each job. There is nothing else: no kinds, priorities, due times,
attempts, timeouts or logs, and nobody takes over a lease that ran out.
"""

import asyncpg
import msgspec

from benchmarks.queues.tally import BATCH, Tally, main, payloads

TABLE = """
CREATE TABLE hand_jobs (
    job_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payload      jsonb NOT NULL,
    leased_until timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX hand_jobs_ready ON hand_jobs (job_id) WHERE leased_until IS NULL;
"""
INSERT = "INSERT INTO hand_jobs (payload) VALUES ($1)"
INSERT_MANY = "INSERT INTO hand_jobs (payload) SELECT unnest($1::jsonb[])"
COMPLETE_AND_LEASE = """
WITH completed AS (
    DELETE FROM hand_jobs WHERE job_id = ANY ($1::bigint[])
)
UPDATE hand_jobs
SET leased_until = now() + interval '30 s'
WHERE job_id = ANY (ARRAY(
    SELECT job_id FROM hand_jobs
    WHERE leased_until IS NULL
    ORDER BY job_id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))
RETURNING job_id, payload
"""
FIRST = "SELECT min(job_id) FROM hand_jobs"
COUNT = "SELECT count(*) FROM hand_jobs"


async def install(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(TABLE)
    await conn.close()


async def measure(dsn: str, tally: Tally) -> int:
    conn = await asyncpg.connect(dsn)
    await enqueue_many(conn, tally.total)
    first = await conn.fetchval(FIRST)

    async def run(job: asyncpg.Record) -> None:
        tally.ran(job["job_id"] - first)

    lease = await conn.prepare(COMPLETE_AND_LEASE)
    done: list[int] = []
    while jobs := await lease.fetch(done, BATCH):
        for job in jobs:
            await run(job)
        done = [job["job_id"] for job in jobs]
    rate = tally.rate(await conn.fetchval(COUNT))
    await conn.close()
    return rate


async def enqueue_many(conn: asyncpg.Connection, total: int) -> None:
    texts = [msgspec.json.encode(payload).decode() for payload in payloads(total)]
    insert = await conn.prepare(INSERT_MANY)
    for start in range(0, total, BATCH):
        await insert.fetch(texts[start : start + BATCH])


if __name__ == "__main__":
    main(measure)
