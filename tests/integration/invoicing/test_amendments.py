"""Amendments over the API: what they bill and when they are applied; refusals: test_refusals.py."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from abaxus_core.repositories.invoices import AnotherCameFirst
from abaxus_core.services import amendments, invoicing
from abaxus_core.services.rating import statements
from abaxus_core.services.sheets import Ask
from abaxus_core.services.work import SYSTEM, Work, perform
from tests.support.books import CALLS, PER_CALL, Answer, Books, amounts
from tests.support.clock import FakeClock
from tests.support.metering import fetch

FEE: Mapping[str, object] = {"pricing_model": "flat_fee", "amount": "49.00"}
DEAR_FEE: Mapping[str, object] = {"pricing_model": "flat_fee", "amount": "90.00"}
DEAR_CALL: Mapping[str, object] = {**PER_CALL, "unit_price": "0.02"}
GIVES = [{"feature_key": "sso", "type": "boolean", "value": True}]


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2026, 4, number, hour, tzinfo=UTC)


@pytest.fixture
async def subscription(books: Books, clock: FakeClock) -> str:
    """acme's on version 1 of growth from April on; at noon on 10 April there is a version 2."""
    await books.metric(**CALLS)
    await books.plan(FEE, PER_CALL, entitlements=GIVES)
    await books.customer()
    subscription_id = await books.subscribe()
    clock.set(day(10, 12))
    await books.plan(DEAR_FEE, DEAR_CALL)
    return subscription_id


async def amend(books: Books, subscription_id: str, status: int = 201, **fields: object) -> Answer:
    return await books.post(f"/v1/subscriptions/{subscription_id}/amendments", status, **fields)


async def refusal(
    books: Books, subscription_id: str, **fields: object
) -> tuple[int, str, str | None]:
    return await books.refused(f"/v1/subscriptions/{subscription_id}/amendments", **fields)


async def invoice_april(books: Books, clock: FakeClock) -> Answer:
    clock.set(day(30, 12) + timedelta(days=1))
    return await books.invoice("2026-04-30")


async def shown(books: Books, subscription_id: str) -> Answer:
    return await books.get(f"/v1/subscriptions/{subscription_id}")


async def test_an_immediate_plan_change_splits_usage_at_its_instant(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await books.use(100, "2026-04-10T11:59:59Z")
    made = await amend(
        books, subscription, type="plan_change", effective="immediate", plan_id="growth"
    )
    assert (made["status"], made["plan_version"], made["effective_at"]) == (
        "applied",
        2,
        "2026-04-10T12:00:00Z",
    )
    assert (await shown(books, subscription))["plan_version"] == 2
    await books.use(1000, "2026-04-10T12:00:00Z")
    invoice = await invoice_april(books, clock)
    assert amounts(invoice) == [("flat_fee", 4900), ("usage", 100), ("usage", 2000)]
    assert [line["plan_version"] for line in invoice["line_items"]] == [1, 1, 2]
    assert invoice["line_items"][1]["proof"]["window_end"] == "2026-04-10T12:00:00Z"


async def test_a_prorated_change_shares_the_fees(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await amend(
        books,
        subscription,
        type="plan_change",
        effective="2026-04-21",
        plan_id="growth",
        prorate=True,
    )
    invoice = await invoice_april(books, clock)
    assert amounts(invoice) == [
        ("flat_fee", 4900),
        ("proration_credit", -1633),
        ("proration_charge", 3000),
    ]
    assert invoice["line_items"][1]["description"] == "Flat fee, credit for 10 of 30 days"
    clock.set(datetime(2026, 6, 1, 12, tzinfo=UTC))
    assert amounts(await books.invoice("2026-05-31")) == [("flat_fee", 9000)]


async def test_paused_stretches_are_not_billed_and_grant_nothing(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await books.use(100, "2026-04-09T00:00:00Z")
    await amend(books, subscription, type="pause", effective="immediate", resume_date="2026-04-20")
    check = {"customer_id": "acme", "feature_key": "sso"}
    assert not (await books.get("/v1/entitlements/check", **check))["granted"]
    assert (await shown(books, subscription))["status"] == "paused"
    await books.use(1000, "2026-04-11T00:00:00Z")
    clock.set(day(20))
    assert (await books.get("/v1/entitlements/check", **check))["granted"]
    await books.use(10, "2026-04-20T00:00:00Z")
    invoice = await invoice_april(books, clock)
    assert amounts(invoice) == [("flat_fee", 4900), ("usage", 110)]
    proof = invoice["line_items"][1]["proof"]
    assert proof["event_count"] == 2
    assert proof["pauses"] == [{"start": "2026-04-10T12:00:00Z", "end": "2026-04-20T00:00:00Z"}]


async def test_a_cancellation_at_the_end_of_the_period_waits_for_it(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    made = await amend(books, subscription, type="cancel", effective="end_of_period")
    assert (made["status"], made["effective_at"]) == ("pending", "2026-05-01T00:00:00Z")
    assert (await shown(books, subscription))["pending_amendments"] == [made]
    clock.set(day(30, 12) + timedelta(days=1))
    assert (await shown(books, subscription))["status"] == "cancelled"
    await books.use(1000, "2026-05-01T00:00:00Z")
    assert amounts(await books.invoice("2026-05-01")) == [("flat_fee", 4900)]
    listed = await books.get(f"/v1/subscriptions/{subscription}/amendments")
    assert [(one["id"], one["status"]) for one in listed["data"]] == [(made["id"], "applied")]
    assert (await books.run_bulk("2026-05-01"))["progress"]["total"] == 0


async def test_reads_honour_what_is_due_before_it_is_applied(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await amend(books, subscription, type="plan_change", effective="2026-04-15", plan_id="growth")
    check = {"customer_id": "acme", "feature_key": "sso"}
    assert (await books.get("/v1/entitlements/check", **check))["granted"]
    clock.set(day(15))
    assert not (await books.get("/v1/entitlements/check", **check))["granted"]
    found = await shown(books, subscription)
    assert (found["plan_version"], found["pending_amendments"][0]["status"]) == (2, "pending")


async def test_workers_apply_what_is_due_once_and_in_order(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await amend(books, subscription, type="pause", effective="2026-04-20")
    await amend(books, subscription, type="pause", effective="2026-04-12")
    await amend(books, subscription, type="resume", effective="2026-04-14")
    clock.set(day(15))
    await asyncio.gather(*(amendments.apply_due(books.context) for _ in range(4)))
    rows = await fetch(
        books.context.database,
        "SELECT type, status, applied_no FROM amendments ORDER BY effective_at",
    )
    assert rows == [("pause", "applied", 1), ("resume", "applied", 2), ("pause", "pending", None)]
    entries = await fetch(
        books.context.database, "SELECT count(*) FROM audit_log WHERE action = 'amendment.applied'"
    )
    assert entries == [(2,)]


async def test_what_cannot_be_applied_any_more_fails_with_why(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    late = await amend(
        books, subscription, type="plan_change", effective="2026-04-20", plan_id="growth"
    )
    await amend(books, subscription, type="cancel", effective="immediate")
    clock.set(day(20))
    await amendments.apply_due(books.context)
    listed = await books.get(f"/v1/subscriptions/{subscription}/amendments")
    found = {one["id"]: one for one in listed["data"]}[late["id"]]
    assert (found["status"], found["failure"]) == (
        "failed",
        "the subscription is cancelled by then",
    )


async def test_a_change_to_a_metric_that_is_priced_elsewhere_by_then_fails(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await books.metric(key="seats", aggregation="max")
    seat = {"pricing_model": "per_unit", "metric_key": "seats", "unit_price": 1}
    await books.plan(seat, plan_id="both")
    await amend(books, subscription, type="plan_change", effective="2026-04-20", plan_id="both")
    await books.subscribe(plan_id="both", start="2026-04-15")
    clock.set(day(20))
    await amendments.apply_due(books.context)
    (found,) = (await books.get(f"/v1/subscriptions/{subscription}/amendments"))["data"]
    assert found["status"] == "failed"
    assert "prices a metric" in found["failure"]
    now = await refusal(
        books, subscription, type="plan_change", effective="immediate", plan_id="both"
    )
    assert now == (409, "METRIC_ALREADY_PRICED", "plan_id")


async def test_a_plan_change_frees_the_metrics_it_leaves(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await books.plan(FEE, plan_id="bare")
    await amend(books, subscription, type="plan_change", effective="immediate", plan_id="bare")
    again = await books.refused(
        "/v1/subscriptions", customer_id="acme", plan_id="growth", start_date="2026-04-09"
    )
    assert again == (409, "METRIC_ALREADY_PRICED", "plan_id")
    await books.subscribe(start="2026-04-11")


async def test_what_was_invoiced_ahead_of_a_cancellation_is_given_back(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await books.use(100, "2026-04-10T20:00:00Z")
    assert amounts(await books.invoice("2026-04-10")) == [("usage", 100)]
    await amend(books, subscription, type="cancel", effective="immediate")
    assert amounts(await books.invoice("2026-04-10")) == [
        ("flat_fee", 4900),
        ("usage", -100),
    ]


async def test_a_period_that_was_billed_ahead_and_never_came_is_given_back(
    books: Books, clock: FakeClock
) -> None:
    await books.plan({**FEE, "billing": "in_advance"})
    await books.customer()
    subscription_id = await books.subscribe(start="2026-04-11")
    clock.set(day(10, 12))
    ahead = "2026-04-11T06:00:00Z"
    assert amounts(await books.invoice(ahead)) == [("flat_fee", 4900)]
    await amend(books, subscription_id, type="cancel", effective="immediate")
    back = await books.invoice(ahead)
    assert amounts(back) == [("adjustment", -4900), ("credit_applied", 4900)]
    assert (await books.invoice_refused(ahead))[1] == "NOTHING_TO_INVOICE"


async def test_an_amendment_outdates_a_calculation(books: Books, subscription: str) -> None:
    calculation = await books.post(
        "/v1/pricing/calculate",
        200,
        customer_id="acme",
        period_start="2026-04-01",
        period_end="2026-04-10",
    )
    await amend(books, subscription, type="pause", effective="immediate")
    refused = await books.invoice_refused(
        "2026-04-10", calculation_id=calculation["calculation_id"]
    )
    assert refused == (409, "CALCULATION_OUTDATED", "calculation_id")


async def test_a_closed_period_that_an_amendment_cuts_short_is_billed_anew(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    clock.set(day(30, 12))
    await books.use(100, "2026-04-30T20:00:00Z")
    assert amounts(await books.invoice("2026-04-30")) == [("flat_fee", 4900), ("usage", 100)]
    await amend(books, subscription, type="cancel", effective="immediate")
    assert (await books.run_bulk("2026-04-30"))["result"]["invoices_created"] == 1
    newest = (await books.get("/v1/invoices"))["data"][0]
    assert amounts(newest) == [("usage", -100), ("credit_applied", 100)]


async def test_a_pending_amendment_can_be_cancelled_once(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    made = await amend(books, subscription, type="cancel", effective="end_of_period")
    path = f"/v1/subscriptions/{subscription}/amendments/{made['id']}/cancel"
    assert (await books.post(path, 200))["status"] == "cancelled"
    assert await books.refused(path) == (409, "INVALID_STATE", None)
    clock.set(datetime(2026, 5, 10, tzinfo=UTC))
    assert (await shown(books, subscription))["status"] == "active"


async def test_amendments_and_invoices_that_meet_bill_everything_once(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    """Whoever comes first: in the end the lines add up to the rating of the life as amended."""
    await books.use(100, "2026-04-10T20:00:00Z")
    results = await asyncio.gather(
        *(
            books.client.post(
                "/v1/invoices", json={"customer_id": "acme", "cutoff_date": "2026-04-10"}
            )
            for _ in range(10)
        ),
        amend(books, subscription, type="plan_change", effective="immediate", plan_id="growth"),
    )
    assert {one.status_code for one in results[:-1]} <= {201, 409}
    await invoice_april(books, clock)
    rows = await fetch(
        books.context.database,
        "SELECT plan_version, sum(amount_minor)::integer FROM invoice_lines"
        " WHERE kind <> 'credit_applied' GROUP BY plan_version ORDER BY plan_version",
    )
    assert rows == [(1, 4900), (2, 200)]


async def test_a_bulk_run_applies_what_is_due_first(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    await amend(books, subscription, type="cancel", effective="2026-04-12", prorate=True)
    clock.set(day(12))
    assert (await books.run_bulk("2026-04-11"))["result"]["invoices_created"] == 1
    newest = (await books.get("/v1/invoices"))["data"][0]
    assert amounts(newest) == [("flat_fee", 4900), ("proration_credit", -3103)]


async def test_an_invoice_that_was_rated_by_the_life_before_is_refused(
    books: Books, subscription: str
) -> None:
    ((customer_no,),) = await fetch(books.context.database, "SELECT customer_no FROM customers")

    async def step(work: Work) -> None:
        ask = Ask(cutoff=day(11), watermark=0)
        rated = await statements(work.conn, [customer_no], ask)
        await amend(books, subscription, type="pause", effective="immediate")
        await invoicing.advance(work, rated)

    with pytest.raises(AnotherCameFirst):
        await perform(books.context, SYSTEM, step)
    rows = await fetch(books.context.database, "SELECT rated_on FROM subscriptions")
    assert rows == [(None,)]
