"""A kind of job for tests, and workers that are quick to notice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec

from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.queue import Handler, Job, JobKind, Priority, Schedule, enqueue_many
from abaxus_core.kernel.queue_worker import QueueWorker, WorkerSettings

Run = Callable[[Job["Note"]], Awaitable[None]]


class Note(msgspec.Struct, frozen=True):
    number: int


KIND = JobKind(name="note", payload=Note, attempts_max=3)
URGENT = JobKind(name="urgent_note", payload=Note, priority=Priority.URGENT)
BULK = JobKind(name="bulk_note", payload=Note, priority=Priority.BULK)
QUICK = WorkerSettings(
    concurrency=4,
    lease=timedelta(seconds=30),
    poll=timedelta(milliseconds=50),
    upkeep=timedelta(milliseconds=50),
    drain=timedelta(seconds=3),
)

FAULTY = WorkerSettings(
    concurrency=4,
    lease=timedelta(milliseconds=600),
    poll=timedelta(milliseconds=50),
    upkeep=timedelta(milliseconds=50),
    drain=timedelta(milliseconds=200),
)


@asynccontextmanager
async def working(
    database: Database,
    run: Run,
    *,
    settings: WorkerSettings = QUICK,
    kinds: Sequence[JobKind[Note]] = (KIND,),
    schedules: Sequence[Schedule[Any]] = (),
    clock: Clock | None = None,
) -> AsyncIterator[QueueWorker]:
    """A worker that runs `run` for every kind, and drains on the way out."""
    handlers = [Handler(kind=kind, run=run) for kind in kinds]
    worker = QueueWorker(database, handlers, schedules=schedules, settings=settings, clock=clock)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


async def add(
    database: Database,
    count: int = 1,
    *,
    kind: JobKind[Note] = KIND,
    due_at: datetime | None = None,
) -> None:
    """Enqueue notes 0, 1, 2 and so on."""
    notes = [Note(number) for number in range(count)]
    await database.transaction(lambda conn: enqueue_many(conn, kind, notes, due_at=due_at))


async def jobs(database: Database) -> list[dict[str, Any]]:
    """The rows of the queue, in the order they were enqueued."""
    async with database.connection() as conn:
        return [dict(row) for row in await conn.fetch("SELECT * FROM jobs ORDER BY job_id")]


async def no_jobs(database: Database) -> bool:
    return not await jobs(database)
