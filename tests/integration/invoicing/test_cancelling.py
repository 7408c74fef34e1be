"""Bulk runs cancelled through the API: what was issued stands, and nothing follows."""

from abaxus_core.services import bulk_runs
from abaxus_core.services.jobs import InvoiceChunk
from tests.support.api import bearer, error_of, new_key
from tests.support.books import Books, make_crowd, run_jobs
from tests.support.metering import fetch

NOBODY: dict[str, object] = {"invoices_failed": 0, "errors": []}


async def cancel(books: Books, job_id: str) -> dict[str, object]:
    return await books.post(f"/v1/jobs/{job_id}/cancel", 200)


async def cancel_refused(books: Books, job_id: str) -> tuple[int, str, str | None]:
    return await books.refused(f"/v1/jobs/{job_id}/cancel")


async def test_a_run_that_is_queued_is_not_even_planned(books: Books) -> None:
    await make_crowd(books, 3)
    job_id = await books.bulk()
    job = await cancel(books, job_id)
    assert (job["status"], job["finished_at"]) == ("cancelled", "2026-05-10T12:00:00Z")
    await run_jobs(books.context)
    assert await books.get(f"/v1/jobs/{job_id}") == job
    assert job["progress"] == {"total": 0, "done": 0}
    assert (await books.get("/v1/invoices"))["data"] == []


async def test_what_a_running_one_has_issued_stands(books: Books) -> None:
    await make_crowd(books, 6)
    job_id = await books.bulk(send=True)
    await bulk_runs.plan(books.context, job_id)
    rows = await fetch(books.context.database, "SELECT customer_no FROM customers LIMIT 2")
    chunk = InvoiceChunk(bulk_run_id=job_id, customer_nos=tuple(int(str(no)) for (no,) in rows))
    await bulk_runs.invoice_chunk(books.context, chunk, last_attempt=False)

    job = await cancel(books, job_id)

    assert job["progress"] == {"total": 6, "done": 2}
    assert job["result"] == {"invoices_created": 2, "invoices_skipped": 0, **NOBODY}
    await run_jobs(books.context)
    assert await books.get(f"/v1/jobs/{job_id}") == job
    invoices = (await books.get("/v1/invoices"))["data"]
    assert [one["total_amount"] for one in invoices] == [15775] * 2
    rest = await books.run_bulk()
    assert rest["result"] == {"invoices_created": 4, "invoices_skipped": 2, **NOBODY}


async def test_it_is_on_record_and_asked_twice_the_same(books: Books) -> None:
    job_id = await books.bulk()
    path = f"/v1/jobs/{job_id}/cancel"
    first, again = [
        await books.client.post(path, json={"idempotency_key": "once"}) for _ in range(2)
    ]
    assert (first.status_code, again.content) == (200, first.content)
    entries = await books.get("/v1/audit", object_type="bulk_run", object_id=job_id)
    actions = [(entry["action"], entry["actor"]) for entry in entries["data"]]
    actor = actions[0][1]
    assert actions == [("bulk_run.cancelled", actor), ("bulk_run.started", actor)]
    assert actor.startswith("key_")


async def test_what_has_ended_is_not_cancelled(books: Books) -> None:
    await make_crowd(books, 2)
    completed = await books.run_bulk()
    cancelled = await cancel(books, await books.bulk("2026-05-01"))
    failed_id = await books.bulk("2026-05-02")
    await bulk_runs.fail(books.context, failed_id, "planning failed")
    before = await books.get("/v1/jobs")
    assert [job["status"] for job in before["data"]] == ["failed", "cancelled", "completed"]
    for job_id in (str(completed["id"]), str(cancelled["id"]), failed_id):
        assert await cancel_refused(books, job_id) == (409, "INVALID_STATE", None)
    assert await books.get("/v1/jobs") == before
    assert await cancel_refused(books, "job_none") == (404, "JOB_NOT_FOUND", None)


async def test_it_takes_the_scope_and_the_mode(books: Books) -> None:
    job_id = await books.bulk()
    for context, scope, refusal in (
        (books.context, "read", (403, "FORBIDDEN_SCOPE", None)),
        (books.test_context, "write", (404, "JOB_NOT_FOUND", None)),
    ):
        key = bearer(await new_key(context, scope))
        answer = await books.client.post(f"/v1/jobs/{job_id}/cancel", headers=key)
        assert error_of(answer) == refusal
    key = bearer(await new_key(books.context, "write"))
    answer = await books.client.post(f"/v1/jobs/{job_id}/cancel", headers=key)
    assert answer.json()["status"] == "cancelled"
