"""Jobs of bulk runs: planning, chunks, and collecting what was issued."""

import asyncio
from typing import Any, Final

from abaxus_core.kernel.queue import Handler, Job
from abaxus_core.services import bulk_runs, collection
from abaxus_core.services.jobs import (
    BULK_CHUNK,
    BULK_PLAN,
    INVOICE_CHARGE,
    INVOICE_SEND,
    CollectInvoice,
    InvoiceChunk,
    PlanBulkRun,
)
from abaxus_core.services.work import Context

# One is rated while the database works for the others. More of them only take each other's caches
# and queue for the lock of the run (docs/benchmarks.md).
CHUNKS_AT_ONCE: Final = 3


def handlers(context: Context) -> list[Handler[Any]]:
    """The handlers of one mode."""
    chunks = asyncio.Semaphore(CHUNKS_AT_ONCE)

    async def plan(job: Job[PlanBulkRun]) -> None:
        run_id = job.payload.bulk_run_id
        try:
            await bulk_runs.plan(context, run_id)
        except Exception as error:
            if job.last_attempt:
                await bulk_runs.fail(context, run_id, f"planning failed: {type(error).__name__}")
            raise

    async def chunk(job: Job[InvoiceChunk]) -> None:
        async with chunks:
            await bulk_runs.invoice_chunk(context, job.payload, last_attempt=job.last_attempt)

    async def charge(job: Job[CollectInvoice]) -> None:
        await collection.charge(context, job.payload)

    async def send(job: Job[CollectInvoice]) -> None:
        await collection.send(context, job.payload)

    return [
        Handler(kind=BULK_PLAN, run=plan),
        Handler(kind=BULK_CHUNK, run=chunk),
        Handler(kind=INVOICE_CHARGE, run=charge),
        Handler(kind=INVOICE_SEND, run=send),
    ]
