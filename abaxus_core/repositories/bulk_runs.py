"""Bulk runs: how far each is planned, what became of each of its customers, when it was done."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import asyncpg
import msgspec

from abaxus_core.kernel.database import Connection, Record
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories.constraints import violated
from abaxus_core.repositories.invoices import AnotherCameFirst

_sql = queries("bulk_runs")
_insert = _sql.exec("insert")
_get = _sql.maybe("get")
_lock = _sql.maybe("lock")
_page = _sql.many("page")
_failures = _sql.many("failures")
_plan_step = _sql.exec("plan_step")
_done_among = _sql.many("done_among")
_settle_customers = _sql.exec("settle_customers")
_count_settled = _sql.maybe("count_settled")
_finish = _sql.exec("finish")
_fail = _sql.exec("fail")
_cancel = _sql.exec("cancel")
_abandoned = _sql.many("abandoned")

BulkRunStatus = Literal["queued", "running", "completed", "failed", "cancelled"]
Outcome = Literal["created", "skipped", "failed"]


class BulkRun(msgspec.Struct, frozen=True, kw_only=True):
    """`planned_through` is the last customer number that planning has handed out."""

    id: str
    status: BulkRunStatus
    cutoff: datetime
    charge: bool
    send: bool
    actor: str
    planned_through: int = 0
    planned: bool = False
    total: int = 0
    created: int = 0
    skipped: int = 0
    failed: int = 0
    error: str | None = None
    created_at: datetime
    finished_at: datetime | None = None


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a customer: an invoice, nothing, or an error."""

    customer_no: int
    outcome: Outcome
    invoice_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    customer_id: str
    code: str
    message: str


async def insert(conn: Connection, run: BulkRun) -> None:
    await _insert(conn, run.id, run.cutoff, run.charge, run.send, run.actor, run.created_at)


async def get(conn: Connection, run_id: str) -> BulkRun | None:
    row = await _get(conn, run_id)
    return None if row is None else _run(row)


async def lock(conn: Connection, run_id: str) -> BulkRun | None:
    """Return the run, held against other planning steps until the transaction ends."""
    row = await _lock(conn, run_id)
    return None if row is None else _run(row)


async def page(conn: Connection, *, before_id: str, rows_max: int) -> list[BulkRun]:
    """Return runs, newest first, those with an id below `before_id`."""
    return [_run(row) for row in await _page(conn, before_id, rows_max)]


async def failures(
    conn: Connection, run_ids: Sequence[str], *, per_run_max: int
) -> dict[str, list[Failure]]:
    """Return the first failures of each run, by run."""
    found: defaultdict[str, list[Failure]] = defaultdict(list)
    for row in await _failures(conn, run_ids, per_run_max):
        failure = Failure(
            customer_id=row["customer_id"], code=row["error_code"], message=row["error_message"]
        )
        found[row["bulk_run_id"]].append(failure)
    return found


async def plan_step(
    conn: Connection, run_id: str, *, planned_through: int, customers: int, planned: bool
) -> None:
    """Record that planning has handed out so many more customers; `planned`: those were all."""
    await _plan_step(conn, run_id, planned_through, customers, planned)


async def done_among(conn: Connection, run_id: str, customer_nos: Sequence[int]) -> frozenset[int]:
    """Return those of the customers that the run has settled."""
    rows = await _done_among(conn, run_id, customer_nos)
    return frozenset(row["customer_no"] for row in rows)


async def settle_customers(conn: Connection, run_id: str, settled: Sequence[Settled]) -> None:
    """Record what became of customers. Raises AnotherCameFirst where one was settled meanwhile."""
    try:
        await _settle_customers(
            conn,
            run_id,
            [one.customer_no for one in settled],
            [one.outcome for one in settled],
            [one.invoice_id for one in settled],
            [one.error_code for one in settled],
            [one.error_message for one in settled],
        )
    except asyncpg.UniqueViolationError as error:
        if violated(error) != "bulk_run_customers_pkey":
            raise
        raise AnotherCameFirst("another worker settled a customer of the run") from error


async def count_settled(conn: Connection, run_id: str, settled: Sequence[Settled]) -> bool:
    """Add to the run's progress; return whether nobody is left to settle.

    Locks the run's row, which all of its chunks share. Raises AnotherCameFirst where the run has
    ended meanwhile.
    """
    outcomes = [one.outcome for one in settled]
    counted = await _count_settled(
        conn,
        run_id,
        outcomes.count("created"),
        outcomes.count("skipped"),
        outcomes.count("failed"),
    )
    if counted is None:
        raise AnotherCameFirst("the run has ended meanwhile")
    all_settled: bool = counted["all_settled"]
    return all_settled


async def finish(conn: Connection, run_id: str, at: datetime) -> bool:
    """Return whether this call is the one that completes the run."""
    return await _finish(conn, run_id, at) > 0


async def fail(conn: Connection, run_id: str, *, error: str, at: datetime) -> bool:
    """Return whether this call is the one that ends the run in failure."""
    return await _fail(conn, run_id, error, at) > 0


async def cancel(conn: Connection, run_id: str, at: datetime) -> bool:
    """Return whether this call is the one that cancels the run."""
    return await _cancel(conn, run_id, at) > 0


async def abandoned(conn: Connection, *, rows_max: int) -> list[str]:
    """Return runs that are not finished and have no job left that could finish them."""
    return [row["bulk_run_id"] for row in await _abandoned(conn, rows_max)]


def _run(row: Record) -> BulkRun:
    return BulkRun(
        id=row["bulk_run_id"],
        status=row["status"],
        cutoff=row["cutoff"],
        charge=row["charge"],
        send=row["send"],
        actor=row["actor"],
        planned_through=row["planned_through"],
        planned=row["planned"],
        total=row["total"],
        created=row["created"],
        skipped=row["skipped"],
        failed=row["failed"],
        error=row["error"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
