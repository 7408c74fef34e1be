"""Bulk runs: everything due at a cutoff, in chunks that any number of workers may take.

Planning hands out customers in steps, each with its chunks in one transaction. A chunk settles its
customers in the transaction that issues their invoices, so whatever is cut off, repeated or run
twice goes on with those who are not settled. A chunk that fails is taken apart, customer by
customer, and one who fails is recorded and stops nobody else. Every chunk changes the run's row
before it commits, and only while the run is running, so that none commits after the run has ended.
"""

from collections.abc import Sequence
from datetime import date, datetime

import msgspec
import structlog

from abaxus_core.domain.periods import resolve_cutoff
from abaxus_core.domain.statements import is_behind, moves_money
from abaxus_core.errors import AbaxusError, IllegalTransition, NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.kernel.queue import enqueue, enqueue_many
from abaxus_core.repositories import billing, invoices, watermarks
from abaxus_core.repositories import bulk_runs as repository
from abaxus_core.repositories.bulk_runs import BulkRun, Failure, Settled
from abaxus_core.repositories.invoices import NewInvoice
from abaxus_core.services import amendments, audit, invoicing
from abaxus_core.services.jobs import (
    BULK_CHUNK,
    BULK_PLAN,
    INVOICE_CHARGE,
    INVOICE_SEND,
    CollectInvoice,
    InvoiceChunk,
    PlanBulkRun,
)
from abaxus_core.services.rating import Statement, statements
from abaxus_core.services.sheets import Ask
from abaxus_core.services.work import Context, Work, perform

CHUNK_SIZE = 250
PLANNED_AT_ONCE_MAX = 20_000
STEPS_MAX = 10_000
FAILURES_SHOWN_MAX = 100
ABANDONED_AT_ONCE_MAX = 100

_log = structlog.get_logger("abaxus.bulk")


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """`charge`, `send`: also collect, also mail each invoice that the run issues."""

    cutoff: date | datetime
    charge: bool = False
    send: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run and its first FAILURES_SHOWN_MAX failures."""

    run: BulkRun
    failures: Sequence[Failure] = ()


async def start(work: Work, new: NewRun) -> Report:
    """Return a new run, queued. Raises CUTOFF_IN_FUTURE."""
    run = BulkRun(
        id=work.ids.new("job"),
        status="queued",
        cutoff=resolve_cutoff(new.cutoff, work.now),
        charge=new.charge,
        send=new.send,
        actor=work.actor,
        created_at=work.now,
    )
    await repository.insert(work.conn, run)
    await enqueue(work.conn, BULK_PLAN, PlanBulkRun(bulk_run_id=run.id), unique_key=run.id)
    await audit.record(
        work,
        action="bulk_run.started",
        object_type="bulk_run",
        object_id=run.id,
        data={"cutoff": run.cutoff, "charge": run.charge, "send": run.send},
    )
    return Report(run=run)


async def get(conn: Connection, run_id: str) -> Report:
    """Raises JOB_NOT_FOUND."""
    run = await repository.get(conn, run_id)
    if run is None:
        raise NotFound(f"there is no job {run_id}", code="JOB_NOT_FOUND")
    (report,) = await _reports(conn, [run])
    return report


async def page(conn: Connection, *, before_id: str, rows_max: int) -> list[Report]:
    """Return runs, newest first, those with an id below `before_id`."""
    return await _reports(conn, await repository.page(conn, before_id=before_id, rows_max=rows_max))


async def _reports(conn: Connection, runs: Sequence[BulkRun]) -> list[Report]:
    failed = [run.id for run in runs if run.failed]
    failures = await repository.failures(conn, failed, per_run_max=FAILURES_SHOWN_MAX)
    return [Report(run=run, failures=failures.get(run.id, ())) for run in runs]


async def plan(context: Context, run_id: str) -> None:
    """Hand out the run's customers as chunks. Repeated, it goes on where the run's row says."""
    await invoicing.settle_inbox(context)
    run = await _run(context, run_id)

    async def step(work: Work) -> bool:
        return await _plan_step(work, run_id)

    for _ in range(STEPS_MAX):
        if await perform(context, run.actor, step):
            return


async def _run(context: Context, run_id: str) -> BulkRun:
    async with context.database.connection() as conn:
        return (await get(conn, run_id)).run


async def _plan_step(work: Work, run_id: str) -> bool:
    """Whether there is nothing left to plan."""
    run = await repository.lock(work.conn, run_id)
    if run is None or run.planned or run.status not in ("queued", "running"):
        return True
    customer_nos = await billing.due(
        work.conn,
        after_customer_no=run.planned_through,
        started_before=run.cutoff,
        limit=PLANNED_AT_ONCE_MAX,
    )
    planned = len(customer_nos) < PLANNED_AT_ONCE_MAX
    await _enqueue_chunks(work.conn, run_id, customer_nos)
    await repository.plan_step(
        work.conn,
        run_id,
        planned_through=max(customer_nos, default=run.planned_through),
        customers=len(customer_nos),
        planned=planned,
    )
    await _finish_if_done(work, run_id)
    return planned


async def _enqueue_chunks(conn: Connection, run_id: str, customer_nos: Sequence[int]) -> None:
    chunks = [
        InvoiceChunk(bulk_run_id=run_id, customer_nos=tuple(customer_nos[at : at + CHUNK_SIZE]))
        for at in range(0, len(customer_nos), CHUNK_SIZE)
    ]
    keys = [f"{run_id}:{chunk.customer_nos[0]}" for chunk in chunks]
    await enqueue_many(conn, BULK_CHUNK, chunks, unique_keys=keys)


async def cancel(work: Work, run_id: str) -> Report:
    """End a run that is queued or running; what it issued stands, what is under way is undone.

    Raises JOB_NOT_FOUND, and INVALID_STATE when it has ended.
    """
    cancelled = await repository.cancel(work.conn, run_id, work.now)
    report = await get(work.conn, run_id)
    if not cancelled:
        raise IllegalTransition(f"a job that is {report.run.status} cannot be cancelled")
    await _record(work, run_id, "bulk_run.cancelled", {})
    return report


async def fail(context: Context, run_id: str, error: str) -> None:
    """End a run that cannot go on."""
    run = await _run(context, run_id)

    async def step(work: Work) -> None:
        if await repository.fail(work.conn, run_id, error=error, at=work.now):
            await _record(work, run_id, "bulk_run.failed", {"error": error})

    await perform(context, run.actor, step)


async def fail_abandoned(context: Context) -> None:
    """End runs whose last job gave up, or died with its worker too often, before they were done.

    What they issued stands; another run at the cutoff invoices who is left.
    """
    async with context.database.connection() as conn:
        run_ids = await repository.abandoned(conn, rows_max=ABANDONED_AT_ONCE_MAX)
    for run_id in run_ids:
        await fail(context, run_id, "its jobs gave up before all customers were settled")


async def invoice_chunk(context: Context, chunk: InvoiceChunk, *, last_attempt: bool) -> None:
    """Settle those customers of the chunk who are not settled yet; all at once, else one by one.

    The database's own faults are raised, for the job to be tried again, unless it is the last time.
    """
    run = await _run(context, chunk.bulk_run_id)
    try:
        await _settle(context, run, chunk.customer_nos)
    except Exception as error:  # noqa: BLE001 - an edge: whose fault it is shows one by one
        _log.warning("bulk.chunk_taken_apart", bulk_run_id=run.id, error=type(error).__name__)
        for customer_no in chunk.customer_nos:
            await _settle_alone(context, run, customer_no, last_attempt=last_attempt)


async def _settle(context: Context, run: BulkRun, customer_nos: Sequence[int]) -> None:
    async def attempt() -> None:
        async with context.database.connection() as conn:
            watermark = await watermarks.read(conn)

        async def step(work: Work) -> None:
            await _settle_all(work, run, customer_nos, watermark)

        await perform(context, run.actor, step)

    await invoicing.repeated(attempt)


async def _settle_alone(
    context: Context, run: BulkRun, customer_no: int, *, last_attempt: bool
) -> None:
    try:
        await _settle(context, run, [customer_no])
    except Exception as error:
        # An edge of the job: one customer's failure stops nobody else.
        if isinstance(error, CONNECTION_FAULTS) and not last_attempt:
            raise
        await _record_failure(context, run, _failure(run, customer_no, error))


def _failure(run: BulkRun, customer_no: int, error: Exception) -> Settled:
    if isinstance(error, AbaxusError):
        code, message = error.code, error.message
    else:
        _log.exception("bulk.customer_failed", bulk_run_id=run.id, customer_no=customer_no)
        code, message = "INTERNAL", "an unexpected error; the log of the worker has it"
    return Settled(
        customer_no=customer_no, outcome="failed", error_code=code, error_message=message
    )


async def _record_failure(context: Context, run: BulkRun, failure: Settled) -> None:
    async def step(work: Work) -> None:
        if await _unsettled(work.conn, run.id, [failure.customer_no]):
            await _record_settled(work, run.id, [failure])

    await invoicing.repeated(lambda: perform(context, run.actor, step))


async def _settle_all(
    work: Work, run: BulkRun, customer_nos: Sequence[int], watermark: int
) -> None:
    """Rate, issue and settle, in one transaction; the numbers last."""
    todo = await _unsettled(work.conn, run.id, customer_nos)
    if not todo:
        return
    await amendments.apply_due_of_customers(work, todo)
    rated = await statements(work.conn, todo, Ask(cutoff=run.cutoff, watermark=watermark))
    current = [one for one in rated if not is_behind(one.cutoff, one.account.last_cutoff)]
    new = [invoicing.new_invoice(work, one) for one in current if moves_money(one.lines)]
    await invoicing.issue(work, new)
    await invoicing.advance(work, current)
    await _enqueue_collection(work, run, new)
    await _record_settled(work, run.id, _settled(rated, new))
    await invoices.number_many(work.conn, [one.id for one in new])


async def _unsettled(conn: Connection, run_id: str, customer_nos: Sequence[int]) -> list[int]:
    """Those of the customers who are still to be settled; nobody of a run that has ended."""
    run = await repository.get(conn, run_id)
    if run is None or run.status != "running":
        return []
    done = await repository.done_among(conn, run_id, customer_nos)
    return [customer_no for customer_no in customer_nos if customer_no not in done]


def _settled(rated: Sequence[Statement], new: Sequence[NewInvoice]) -> list[Settled]:
    issued = {one.customer_no: one.id for one in new}
    return [
        Settled(
            customer_no=one.account.customer_no,
            outcome="created" if one.account.customer_no in issued else "skipped",
            invoice_id=issued.get(one.account.customer_no),
        )
        for one in rated
    ]


async def _enqueue_collection(work: Work, run: BulkRun, new: Sequence[NewInvoice]) -> None:
    payloads = [CollectInvoice(invoice_id=one.id, actor=run.actor) for one in new]
    if run.charge and payloads:
        await enqueue_many(work.conn, INVOICE_CHARGE, payloads)
    if run.send and payloads:
        await enqueue_many(work.conn, INVOICE_SEND, payloads)


async def _record_settled(work: Work, run_id: str, settled: Sequence[Settled]) -> None:
    await repository.settle_customers(work.conn, run_id, settled)
    if await repository.count_settled(work.conn, run_id, settled):
        await _finish_if_done(work, run_id)


async def _finish_if_done(work: Work, run_id: str) -> None:
    if await repository.finish(work.conn, run_id, work.now):
        await _record(work, run_id, "bulk_run.completed", {})


async def _record(work: Work, run_id: str, action: str, data: dict[str, object]) -> None:
    await audit.record(work, action=action, object_type="bulk_run", object_id=run_id, data=data)
