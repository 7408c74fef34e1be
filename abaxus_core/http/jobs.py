"""Jobs over HTTP: bulk runs, their progress and what came of them."""

from datetime import datetime
from typing import Literal

import msgspec

from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories.bulk_runs import BulkRunStatus
from abaxus_core.services import bulk_runs
from abaxus_core.services.bulk_runs import Report
from abaxus_core.services.work import Work

_NEWEST = "job_zzzzzzzzzzzzzzzzzzzzzzzzzzz"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """In customers. `total` grows while the run is being planned."""

    total: int
    done: int


class CustomerError(msgspec.Struct, frozen=True, kw_only=True):
    customer_id: str
    code: str
    message: str


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    """So far, while it runs. `errors` holds the first hundred of those that failed."""

    invoices_created: int
    invoices_skipped: int
    invoices_failed: int
    errors: list[CustomerError]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A bulk invoice run."""

    id: str
    type: Literal["bulk_invoice"] = "bulk_invoice"
    status: BulkRunStatus
    progress: Progress
    result: BulkResult
    error: str | None
    cutoff: datetime
    charge: bool
    send: bool
    created_at: datetime
    finished_at: datetime | None


async def newest(call: Call[None, Paged]) -> Answer:
    query = call.query
    before = read_cursor(query.cursor, tuple[str])[0] if query.cursor else _NEWEST

    async def step(conn: Connection) -> Page[Job]:
        found = await bulk_runs.page(conn, before_id=before, rows_max=query.limit + 1)
        return page([job(report) for report in found], query.limit, lambda one: (one.id,))

    return await call.read(step)


async def get(call: Call[None, None]) -> Answer:
    async def step(conn: Connection) -> Job:
        return job(await bulk_runs.get(conn, call.path["id"]))

    return await call.read(step)


async def cancel(call: Call[None, None]) -> Answer:
    async def step(work: Work) -> Job:
        return job(await bulk_runs.cancel(work, call.path["id"]))

    return await call.write(200, step)


def job(report: Report) -> Job:
    """A bulk run as it is answered."""
    run = report.run
    return Job(
        id=run.id,
        status=run.status,
        progress=Progress(total=run.total, done=run.created + run.skipped + run.failed),
        result=BulkResult(
            invoices_created=run.created,
            invoices_skipped=run.skipped,
            invoices_failed=run.failed,
            errors=[
                CustomerError(customer_id=one.customer_id, code=one.code, message=one.message)
                for one in report.failures
            ],
        ),
        error=run.error,
        cutoff=run.cutoff,
        charge=run.charge,
        send=run.send,
        created_at=run.created_at,
        finished_at=run.finished_at,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/jobs",
        handler=newest,
        scope="read",
        query=Paged,
        answers={200: Page[Job]},
        summary="List jobs, newest first",
        tag="Jobs",
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/{id}",
        handler=get,
        scope="read",
        answers={200: Job},
        errors=("JOB_NOT_FOUND",),
        summary="Read a job: its progress and its result so far",
        tag="Jobs",
    ),
    Endpoint(
        method="POST",
        path="/v1/jobs/{id}/cancel",
        handler=cancel,
        scope="write",
        answers={200: Job},
        errors=("JOB_NOT_FOUND", "INVALID_STATE"),
        summary="End a job that is queued or running; what it issued stands",
        tag="Jobs",
    ),
)
