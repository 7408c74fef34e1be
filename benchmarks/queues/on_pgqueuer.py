"""pgqueuer: batches of 1,000, on uvloop, as its own command line runs it."""

import asyncpg
import msgspec
import uvloop
from pgqueuer import AsyncpgDriver, QueueManager
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from benchmarks.queues.tally import BATCH, Tally, main, payloads

ENTRYPOINT = "benchmark"
FIRST = "SELECT min(id) FROM pgqueuer"
COUNT = "SELECT count(*) FROM pgqueuer"


async def install(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await Queries(AsyncpgDriver(conn)).install()
    await conn.close()


async def measure(dsn: str, tally: Tally) -> int:
    conn = await asyncpg.connect(dsn)
    queries = Queries(AsyncpgDriver(conn))
    await _enqueue(queries, [msgspec.json.encode(each) for each in payloads(tally.total)])
    first = await conn.fetchval(FIRST)
    manager = QueueManager(queries)

    @manager.entrypoint(ENTRYPOINT)
    async def run(job: Job) -> None:
        tally.ran(job.id - first)

    await manager.run(batch_size=BATCH, mode=QueueExecutionMode.drain)
    await conn.close()
    return tally.rate(await _left(dsn))


async def _enqueue(queries: Queries, bodies: list[bytes]) -> None:
    for start in range(0, len(bodies), BATCH):
        batch = bodies[start : start + BATCH]
        await queries.enqueue([ENTRYPOINT] * len(batch), batch, [0] * len(batch))


async def _left(dsn: str) -> int:
    conn = await asyncpg.connect(dsn)
    left = await conn.fetchval(COUNT)
    await conn.close()
    return left


if __name__ == "__main__":
    main(measure, uvloop.run)
