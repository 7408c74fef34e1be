"""The queue of ABAXUS as the worker process runs it: its defaults, one kind of job."""

import asyncio

from abaxus_core.kernel import log, migrations
from abaxus_core.kernel.database import Database, PoolSettings, open_databases
from abaxus_core.kernel.queue import Handler, Job, JobKind, depth, enqueue_many
from abaxus_core.kernel.queue_worker import QueueWorker
from benchmarks.queues.tally import Payload, Tally, main, payloads

KIND = JobKind(name="benchmark", payload=Payload)
POOL = PoolSettings(ssl_mode="disable")


async def install(dsn: str) -> None:
    await migrations.migrate(dsn, POOL)


async def measure(dsn: str, tally: Tally) -> int:
    log.configure("info", "json")
    async with open_databases(dsn, POOL) as databases:
        live = databases.live
        await live.transaction(lambda conn: enqueue_many(conn, KIND, payloads(tally.total)))
        await _drain(live, tally)
        async with live.connection() as conn:
            return tally.rate(sum(each.jobs for each in await depth(conn)))


async def _drain(live: Database, tally: Tally) -> None:
    async def run(job: Job[Payload]) -> None:
        tally.ran(job.payload.number)

    worker = QueueWorker(live, [Handler(kind=KIND, run=run)])
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    await tally.all_ran.wait()
    stop.set()
    await working


if __name__ == "__main__":
    main(measure)
