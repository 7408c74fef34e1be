"""Jobs of bulk runs: planning, chunks, and collecting what was issued."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from abaxus_core.errors import AbaxusError, ProviderUnavailable
from abaxus_core.kernel.queue import Discard, Handler, Job
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

_Collect: TypeAlias = Callable[[Context, CollectInvoice], Awaitable[None]]


def handlers(context: Context) -> list[Handler[Any]]:
    """The handlers of one mode."""

    async def plan(job: Job[PlanBulkRun]) -> None:
        run_id = job.payload.bulk_run_id
        try:
            await bulk_runs.plan(context, run_id)
        except Exception as error:
            if job.last_attempt:
                await bulk_runs.fail(context, run_id, f"planning failed: {type(error).__name__}")
            raise

    async def chunk(job: Job[InvoiceChunk]) -> None:
        await bulk_runs.invoice_chunk(context, job.payload, last_attempt=job.last_attempt)

    return [
        Handler(kind=BULK_PLAN, run=plan),
        Handler(kind=BULK_CHUNK, run=chunk),
        Handler(kind=INVOICE_CHARGE, run=_collecting(context, collection.charge)),
        Handler(kind=INVOICE_SEND, run=_collecting(context, collection.send)),
    ]


def _collecting(
    context: Context, collect: _Collect
) -> Callable[[Job[CollectInvoice]], Awaitable[None]]:
    """What a caller could only correct is kept on the job, not tried again."""

    async def run(job: Job[CollectInvoice]) -> None:
        try:
            await collect(context, job.payload)
        except ProviderUnavailable:
            raise
        except AbaxusError as error:
            raise Discard(f"{error.code}: {error.message}") from error

    return run
