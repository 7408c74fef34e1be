"""A worker in a process of its own, to be killed.

`python -m tests.support.queue_process DSN LEASE_MS`

Each job writes who ran it into the table `effects`; a negative number then hangs for ever.
"""

import asyncio
import os
import sys
from datetime import timedelta

import msgspec

from abaxus_core.kernel import event_loop
from abaxus_core.kernel.database import open_databases
from abaxus_core.kernel.queue import Job
from tests.support.jobs import FAULTY, Note, working
from tests.support.postgres import SETTINGS


async def work(dsn: str, lease: timedelta) -> None:
    async with open_databases(dsn, SETTINGS) as databases:

        async def run(job: Job[Note]) -> None:
            async with databases.live.connection() as conn:
                await conn.execute(
                    "INSERT INTO effects (job_id, attempt, pid) VALUES ($1, $2, $3)",
                    job.job_id,
                    job.attempt,
                    os.getpid(),
                )
            if job.payload.number < 0:
                await asyncio.Event().wait()

        settings = msgspec.structs.replace(FAULTY, lease=lease)
        async with working(databases.live, run, settings=settings):
            await asyncio.Event().wait()


if __name__ == "__main__":
    event_loop.run(work(sys.argv[1], timedelta(milliseconds=int(sys.argv[2]))))
