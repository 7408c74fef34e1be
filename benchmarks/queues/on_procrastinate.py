"""procrastinate: ten jobs at once, finished ones deleted."""

import logging

import procrastinate
import psycopg

from benchmarks.queues.tally import BATCH, Payload, Tally, main, payloads

CONCURRENCY = 10
COUNT = "SELECT count(*) FROM procrastinate_jobs"


async def install(dsn: str) -> None:
    async with _app(dsn).open_async() as app:
        await app.schema_manager.apply_schema_async()


async def measure(dsn: str, tally: Tally) -> int:
    logging.disable(logging.WARNING)
    app = _app(dsn)

    @app.task
    async def run(number: int, note: str) -> None:  # noqa: ARG001 - the payload
        tally.ran(number)

    async with app.open_async():
        await _enqueue(run, payloads(tally.total))
        await app.run_worker_async(
            wait=False,
            concurrency=CONCURRENCY,
            delete_jobs="always",
            install_signal_handlers=False,
        )
    return tally.rate(await _left(dsn))


def _app(dsn: str) -> procrastinate.App:
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))


async def _enqueue(task: procrastinate.tasks.Task, jobs: list[Payload]) -> None:
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        await task.batch_defer_async(*({"number": j.number, "note": j.note} for j in batch))


async def _left(dsn: str) -> int:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        cursor = await conn.execute(COUNT)
        return (await cursor.fetchone())[0]


if __name__ == "__main__":
    main(measure)
