"""Jobs enqueued per second: ours, and bare prepared statements into a narrow table.

`python -m benchmarks.queues.enqueueing NAME DSN JOBS` prints the rate of the one named, after
counting that all are there and emptying the table. Each statement commits by itself, on a
connection that is held, as a job is enqueued on the connection of the work that needs it. Ours
wakes the workers, too.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter_ns

import asyncpg
import msgspec

from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.kernel.queue import enqueue, enqueue_many
from benchmarks.queues.hand_written import INSERT, INSERT_MANY
from benchmarks.queues.ours import KIND, POOL
from benchmarks.queues.tally import BATCH, SECOND_NS, payloads

EMPTY_OURS = "DELETE FROM abaxus_live.jobs"
EMPTY_HAND_WRITTEN = "DELETE FROM hand_jobs"


async def ours_single(dsn: str, jobs: int) -> int:
    async def add(live: Database) -> None:
        async with live.connection() as conn:
            for payload in payloads(jobs):
                await enqueue(conn, KIND, payload)

    return await _ours(dsn, jobs, add)


async def ours_batched(dsn: str, jobs: int) -> int:
    async def add(live: Database) -> None:
        everything = payloads(jobs)
        async with live.connection() as conn:
            for start in range(0, jobs, BATCH):
                await enqueue_many(conn, KIND, everything[start : start + BATCH])

    return await _ours(dsn, jobs, add)


async def hand_written_single(dsn: str, jobs: int) -> int:
    async def add(conn: asyncpg.Connection) -> None:
        insert = await conn.prepare(INSERT)
        for payload in payloads(jobs):
            await insert.fetch(msgspec.json.encode(payload).decode())

    return await _hand_written(dsn, jobs, add)


async def hand_written_batched(dsn: str, jobs: int) -> int:
    async def add(conn: asyncpg.Connection) -> None:
        insert = await conn.prepare(INSERT_MANY)
        everything = payloads(jobs)
        for start in range(0, jobs, BATCH):
            batch = everything[start : start + BATCH]
            await insert.fetch([msgspec.json.encode(each).decode() for each in batch])

    return await _hand_written(dsn, jobs, add)


async def _ours(dsn: str, jobs: int, add: Callable[[Database], Awaitable[None]]) -> int:
    async with open_databases(dsn, POOL) as databases:
        await databases.live.transaction(_nothing)
        rate = await _timed(lambda: add(databases.live), jobs)
        async with databases.live.connection() as conn:
            assert await conn.execute(EMPTY_OURS) == f"DELETE {jobs}"
    return rate


async def _hand_written(
    dsn: str, jobs: int, add: Callable[[asyncpg.Connection], Awaitable[None]]
) -> int:
    conn = await asyncpg.connect(dsn)
    rate = await _timed(lambda: add(conn), jobs)
    assert await conn.execute(EMPTY_HAND_WRITTEN) == f"DELETE {jobs}"
    await conn.close()
    return rate


async def _nothing(_conn: object) -> None:
    """The first transaction connects."""


async def _timed(run: Callable[[], Awaitable[None]], jobs: int) -> int:
    started_ns = perf_counter_ns()
    await run()
    return jobs * SECOND_NS // (perf_counter_ns() - started_ns)


CONTENDERS = {
    "ours_single": ours_single,
    "ours_batched": ours_batched,
    "hand_written_single": hand_written_single,
    "hand_written_batched": hand_written_batched,
}

if __name__ == "__main__":
    print(asyncio.run(CONTENDERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))))
