"""Bulk runs through the API, their jobs run in order."""

import pytest

from abaxus_core.services import bulk_runs
from abaxus_core.services.jobs import InvoiceChunk
from tests.support.books import (
    BASE_FEE,
    CALLS,
    PER_CALL,
    Books,
    make_crowd,
    make_growth,
    make_unlucky,
    run_jobs,
)
from tests.support.metering import fetch

NOBODY: dict[str, object] = {"invoices_failed": 0, "errors": []}


async def test_everything_due_is_invoiced_once(books: Books) -> None:
    await make_crowd(books, 12)
    job = await books.run_bulk()
    assert (job["type"], job["status"], job["error"]) == ("bulk_invoice", "completed", None)
    assert job["progress"] == {"total": 12, "done": 12}
    assert job["result"] == {"invoices_created": 12, "invoices_skipped": 0, **NOBODY}
    assert job["finished_at"] is not None
    invoices = (await books.get("/v1/invoices"))["data"]
    assert [one["total_amount"] for one in invoices] == [15775] * 12
    assert {one["number"] for one in invoices} == {f"INV-{n:06d}" for n in range(1, 13)}

    again = await books.run_bulk()
    assert again["result"] == {"invoices_created": 0, "invoices_skipped": 12, **NOBODY}
    assert len((await books.get("/v1/invoices"))["data"]) == 12
    assert [one["id"] for one in (await books.get("/v1/jobs"))["data"]] == [again["id"], job["id"]]


async def test_a_run_is_queued_and_then_tells_how_far_it_is(books: Books) -> None:
    await make_crowd(books, 3)
    job = await books.get(f"/v1/jobs/{await books.bulk()}")
    assert (job["status"], job["progress"]) == ("queued", {"total": 0, "done": 0})
    assert job["finished_at"] is None


async def test_a_run_without_customers_completes(books: Books) -> None:
    job = await books.run_bulk()
    assert (job["status"], job["progress"]["total"]) == ("completed", 0)


async def test_more_customers_than_a_chunk_and_a_planning_step_hold(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_runs, "CHUNK_SIZE", 3)
    monkeypatch.setattr(bulk_runs, "PLANNED_AT_ONCE_MAX", 10)
    await make_crowd(books, 25)
    job = await books.run_bulk()
    assert job["result"] == {"invoices_created": 25, "invoices_skipped": 0, **NOBODY}
    assert job["status"] == "completed"


async def test_one_who_cannot_be_invoiced_stops_nobody(books: Books) -> None:
    await make_crowd(books, 4)
    await make_unlucky(books, "unlucky")

    job = await books.run_bulk()

    assert job["status"] == "completed"
    assert job["result"]["invoices_created"] == 4
    assert job["result"]["invoices_failed"] == 1
    (error,) = job["result"]["errors"]
    assert (error["customer_id"], error["code"]) == ("unlucky", "VALIDATION_FAILED")
    assert "too large" in error["message"]


async def test_those_without_anything_to_bill_are_skipped_and_not_looked_at_again(
    books: Books,
) -> None:
    await books.metric(**CALLS)
    await books.plan(PER_CALL)
    await books.customer()
    await books.subscribe(end_date="2026-05-01")
    job = await books.run_bulk()
    assert job["result"] == {"invoices_created": 0, "invoices_skipped": 1, **NOBODY}
    assert (await books.run_bulk("2026-05-05"))["progress"]["total"] == 0
    await books.use(100, "2026-04-20T00:00:00Z")
    late = await books.run_bulk("2026-05-05")
    assert late["result"] == {"invoices_created": 1, "invoices_skipped": 0, **NOBODY}
    (invoice,) = (await books.get("/v1/invoices"))["data"]
    assert [(line["kind"], line["amount"]) for line in invoice["line_items"]] == [
        ("adjustment", 100)
    ]


async def test_who_was_invoiced_beyond_the_cutoff_is_skipped(books: Books) -> None:
    await make_growth(books)
    await books.use(200_000)
    await books.invoice("2026-05-05")
    await books.use(200_000)
    job = await books.run_bulk("2026-04-30")
    assert job["result"] == {"invoices_created": 0, "invoices_skipped": 1, **NOBODY}
    assert (await books.invoice("2026-05-05"))["total_amount"] == 2000


async def test_what_credit_pays_is_invoiced_all_the_same(books: Books) -> None:
    await books.metric(key="level", aggregation="last")
    charge = {"pricing_model": "per_unit", "metric_key": "level", "unit_price": "1"}
    await books.plan(charge)
    await books.customer()
    await books.subscribe()
    await books.use(100, "2026-04-10T00:00:00Z", metric_key="level")
    await books.run_bulk("2026-04-30")
    await books.use(0, "2026-04-11T00:00:00Z", metric_key="level")
    given_back = await books.run_bulk("2026-05-01")
    await books.use(60, "2026-05-02T00:00:00Z", metric_key="level")
    job = await books.run_bulk("2026-05-02")
    assert given_back["result"]["invoices_created"] == job["result"]["invoices_created"] == 1
    invoices = (await books.get("/v1/invoices"))["data"]
    assert [one["total_amount"] for one in invoices] == [0, 0, 10000]


async def test_charge_and_send_follow_each_invoice(books: Books) -> None:
    await books.plan(BASE_FEE)
    for customer_id, method in (("good", "pm_ok"), ("bad", "pm_declined"), ("none", None)):
        await books.customer(
            customer_id,
            email=f"{customer_id}@customer.example",
            payment_method=method
            and {"provider_customer_id": "cus", "provider_payment_method": method},
        )
        await books.subscribe(customer_id)
    job = await books.run_bulk(charge=True, send=True)
    assert job["result"]["invoices_created"] == 3
    invoices = {one["customer_id"]: one for one in (await books.get("/v1/invoices"))["data"]}
    assert {name: one["status"] for name, one in invoices.items()} == {
        "good": "paid",
        "bad": "issued",
        "none": "issued",
    }
    assert invoices["bad"]["payment_status"] == "failed"
    assert {one["email"]["status"] for one in invoices.values()} == {"queued"}
    trail = await books.get(f"/v1/invoices/{invoices['none']['id']}/audit")
    refusal = {one["action"]: one["data"] for one in trail["data"]}["invoice.charge_refused"]
    assert refusal["code"] == "NO_PAYMENT_METHOD"


async def test_a_chunk_that_runs_again_changes_nothing(books: Books) -> None:
    await make_crowd(books, 5)
    job_id = await books.bulk(send=True)
    await run_jobs(books.context)
    before = await _everything(books)
    chunk = InvoiceChunk(bulk_run_id=job_id, customer_nos=(1, 2, 3, 4, 5))
    await bulk_runs.invoice_chunk(books.context, chunk, last_attempt=False)
    await bulk_runs.plan(books.context, job_id)
    assert await _everything(books) == before


async def _everything(books: Books) -> list[list[tuple[object, ...]]]:
    return [
        await fetch(books.context.database, f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("invoices", "invoice_lines", "bulk_runs", "bulk_run_customers", "audit_log")
    ]


async def test_runs_and_jobs_that_are_refused(books: Books) -> None:
    assert await books.refused("/v1/invoices/bulk", cutoff_date="2026-06-01") == (
        422,
        "CUTOFF_IN_FUTURE",
        "cutoff_date",
    )
    response = await books.client.get("/v1/jobs/job_none")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")


async def test_a_run_is_on_record(books: Books) -> None:
    await make_crowd(books, 2)
    job = await books.run_bulk()
    rows = await fetch(
        books.context.database,
        "SELECT action FROM audit_log WHERE object_id = $1 ORDER BY audit_no",
        job["id"],
    )
    assert rows == [("bulk_run.started",), ("bulk_run.completed",)]


async def test_a_run_whose_jobs_gave_up_fails(books: Books) -> None:
    await make_crowd(books, 3)
    job_id = await books.bulk()
    await bulk_runs.plan(books.context, job_id)
    await bulk_runs.fail_abandoned(books.context)
    assert (await books.get(f"/v1/jobs/{job_id}"))["status"] == "running"

    await fetch(
        books.context.database,
        "UPDATE jobs SET state = 'discarded', finished_at = now() RETURNING 1",
    )
    await bulk_runs.fail_abandoned(books.context)

    job = await books.get(f"/v1/jobs/{job_id}")
    assert (job["status"], job["progress"]) == ("failed", {"total": 3, "done": 0})
    assert job["error"] == "its jobs gave up before all customers were settled"
    assert (await books.run_bulk())["result"]["invoices_created"] == 3
