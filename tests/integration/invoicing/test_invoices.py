"""Invoices through the API: what is owed less what was billed, whatever came when."""

import asyncio
from decimal import Decimal

from tests.support.books import BASE_FEE, CALLS, PER_CALL, Books, amounts, make_growth
from tests.support.metering import fetch, land_all


async def test_the_golden_invoice(books: Books) -> None:
    await make_growth(books)
    await books.use(1_000_000, "2026-04-01T00:00:00Z")
    await books.use(374_923, "2026-04-30T23:59:59.999999Z")
    await books.use(77, "2026-05-01T00:00:00Z")

    invoice = await books.invoice("2026-04-30")

    assert invoice["number"] == "INV-000001"
    assert (invoice["total_amount"], invoice["currency"]) == (15775, "usd")
    assert (invoice["status"], invoice["payment_status"]) == ("issued", None)
    assert (invoice["period_start"], invoice["period_end"]) == (
        "2026-04-01T00:00:00Z",
        "2026-05-01T00:00:00Z",
    )
    base, calls = invoice["line_items"]
    assert (base["kind"], base["amount"], base["proof"]) == ("flat_fee", 4900, None)
    assert (calls["kind"], calls["amount"]) == ("usage", 10875)
    assert (calls["quantity"], calls["exact_amount"]) == ("1374923", "108.74615")
    assert (calls["owed_amount"], calls["previously_billed_amount"]) == (10875, 0)
    assert [
        (tier["tier"], tier["quantity"], tier["amount"]) for tier in calls["tier_breakdown"]
    ] == [
        (1, "100000", "0"),
        (2, "900000", "90"),
        (3, "374923", "18.74615"),
    ]
    assert calls["proof"]["event_count"] == 2
    assert calls["proof"]["window_start"] == "2026-04-01T00:00:00Z"
    assert calls["proof"]["window_end"] == "2026-05-01T00:00:00Z"


async def test_an_invoice_reads_as_it_was_answered(books: Books) -> None:
    await make_growth(books)
    await books.use(1_374_923)
    invoice = await books.invoice()
    assert await books.get(f"/v1/invoices/{invoice['id']}") == invoice
    assert (await books.get("/v1/invoices"))["data"] == [invoice]


async def test_the_digest_of_a_line_is_that_of_the_raw_events(books: Books) -> None:
    await make_growth(books)
    for value in (1, 2, 3):
        await books.use(value)
    line = (await books.invoice())["line_items"][1]
    ((digest, watermark),) = await fetch(
        books.context.database, "SELECT sum(payload_hash), max(landing_no) FROM events"
    )
    assert line["proof"]["digest"] == f"{int(digest) % 2**64:016x}"
    assert line["proof"]["watermark"] == watermark


async def test_nothing_new_is_a_conflict_and_leaves_no_gap(books: Books) -> None:
    await make_growth(books)
    await books.use(1_374_923)
    await books.invoice()
    assert await books.invoice_refused() == (409, "NOTHING_TO_INVOICE", None)
    await books.use(100_000, "2026-05-02T00:00:00Z")
    assert (await books.invoice("2026-05-10"))["number"] == "INV-000002"


async def test_interim_then_final_add_up_to_the_whole(books: Books) -> None:
    await make_growth(books)
    await books.use(800_000, "2026-04-10T00:00:00Z")
    interim = await books.invoice("2026-04-15")
    await books.use(574_923, "2026-04-20T00:00:00Z")
    final = await books.invoice("2026-04-30")

    assert amounts(interim) == [("usage", 7000)]
    assert amounts(final) == [("flat_fee", 4900), ("usage", 3875)]
    assert interim["total_amount"] + final["total_amount"] == 15775
    line = final["line_items"][1]
    assert (line["owed_amount"], line["previously_billed_amount"]) == (10875, 7000)
    assert line["quantity"] == "1374923"


async def test_late_usage_is_an_adjustment_of_its_period(books: Books) -> None:
    await make_growth(books)
    await books.use(1_000_000)
    await books.invoice("2026-04-30")
    await books.use(374_923, "2026-04-29T00:00:00Z")
    await books.use(200_000, "2026-05-02T00:00:00Z")

    invoice = await books.invoice("2026-05-05")

    assert amounts(invoice) == [("adjustment", 1875), ("usage", 1000)]
    late, current = invoice["line_items"]
    assert late["period_start"] == "2026-04-01T00:00:00Z"
    assert (late["owed_amount"], late["previously_billed_amount"]) == (10875, 9000)
    assert current["period_start"] == "2026-05-01T00:00:00Z"
    assert invoice["period_start"] == "2026-04-01T00:00:00Z"


async def test_late_usage_is_billed_once_however_often_one_asks(books: Books) -> None:
    await make_growth(books)
    await books.use(1_000_000)
    await books.invoice("2026-04-30")
    await books.use(374_923, "2026-04-29T00:00:00Z")
    assert (await books.invoice("2026-05-01T00:00:00Z"))["total_amount"] == 1875
    assert await books.invoice_refused("2026-05-01T00:00:00Z") == (409, "NOTHING_TO_INVOICE", None)


async def test_late_usage_reaches_back_over_many_invoiced_periods(
    books: Books,
) -> None:
    await books.metric(**CALLS)
    await books.plan(PER_CALL)
    await books.customer()
    await books.subscribe(start="2025-11-30")
    for month in ("2025-12-05", "2026-01-05", "2026-02-05", "2026-03-05"):
        await books.use(1000, f"{month}T00:00:00Z")
    whole = await books.invoice("2026-03-29")
    assert [line["period_start"][:10] for line in whole["line_items"]] == [
        "2025-11-30",
        "2025-12-30",
        "2026-01-30",
        "2026-02-28",
    ]
    assert whole["total_amount"] == 4000
    await books.use(50, "2026-01-05T00:00:00Z")
    late = await books.invoice("2026-04-29")
    assert [(line["kind"], line["period_start"][:10]) for line in late["line_items"]] == [
        ("adjustment", "2025-12-30")
    ]
    assert late["total_amount"] == 50


async def test_a_percentile_that_falls_gives_back(books: Books) -> None:
    await books.metric(key="delay", aggregation="percentile", percentile=50)
    charge = {"pricing_model": "per_unit", "metric_key": "delay", "unit_price": "1.50"}
    await books.plan(BASE_FEE, charge)
    await books.customer()
    await books.subscribe()
    await books.use(100, metric_key="delay")
    assert amounts(await books.invoice()) == [("flat_fee", 4900), ("usage", 15000)]
    await books.use(10, metric_key="delay")

    back = await books.invoice("2026-05-01T00:00:00Z")

    assert amounts(back) == [("adjustment", -6750), ("credit_applied", 6750)]
    assert back["total_amount"] == 0
    assert back["line_items"][0]["exact_amount"] == "-67.5"


async def test_credit_is_carried_and_taken_first(books: Books) -> None:
    await books.metric(key="level", aggregation="last")
    charge = {"pricing_model": "per_unit", "metric_key": "level", "unit_price": "1"}
    await books.plan(charge)
    await books.customer()
    await books.subscribe()
    await books.use(100, "2026-04-10T00:00:00Z", metric_key="level")
    await books.invoice("2026-04-30")
    await books.use(20, "2026-04-11T00:00:00Z", metric_key="level")
    await books.use(30, "2026-05-01T12:00:00Z", metric_key="level")
    first = await books.invoice("2026-05-01")
    await books.use(90, "2026-05-02T12:00:00Z", metric_key="level")
    second = await books.invoice("2026-05-02")

    assert amounts(first) == [("adjustment", -8000), ("usage", 3000), ("credit_applied", 5000)]
    assert first["total_amount"] == 0
    assert amounts(second) == [("usage", 6000), ("credit_applied", -5000)]
    assert second["total_amount"] == 1000
    assert await _credit(books) == 0


async def _credit(books: Books) -> Decimal:
    ((credit,),) = await fetch(
        books.context.database, "SELECT sum(amount_minor) FROM customer_credits"
    )
    assert isinstance(credit, Decimal)
    return credit


async def test_several_subscriptions_share_an_invoice(books: Books) -> None:
    await make_growth(books)
    await books.metric(key="seats", aggregation="max")
    seats = {"pricing_model": "per_unit", "metric_key": "seats", "unit_price": "5"}
    await books.plan(seats, plan_id="seats", billing_period="weekly")
    await books.subscribe(plan_id="seats", start="2026-04-06")
    await books.use(1_374_923)
    await books.use(3, "2026-04-07T00:00:00Z", metric_key="seats")
    await books.use(4, "2026-04-20T00:00:00Z", metric_key="seats")

    invoice = await books.invoice("2026-04-30")

    assert [
        (line["metric_key"], line["period_start"][:10], line["amount"])
        for line in invoice["line_items"]
    ] == [
        (None, "2026-04-01", 4900),
        ("api_calls", "2026-04-01", 10875),
        ("seats", "2026-04-06", 1500),
        ("seats", "2026-04-20", 2000),
    ]


async def test_zero_usage(books: Books) -> None:
    await books.metric(**CALLS)
    await books.plan(PER_CALL)
    await books.customer()
    await books.subscribe()
    assert await books.invoice_refused() == (409, "NOTHING_TO_INVOICE", None)


async def test_included_and_negative_usage_show_on_a_line_of_nothing(books: Books) -> None:
    await make_growth(books)
    await books.metric(key="balance", aggregation="sum")
    balance = {"pricing_model": "per_unit", "metric_key": "balance", "unit_price": "1"}
    await books.plan(balance, plan_id="balances")
    await books.subscribe(plan_id="balances")
    await books.use(500)
    await books.use(-7, metric_key="balance")
    invoice = await books.invoice("2026-04-15")
    assert [(line["quantity"], line["amount"]) for line in invoice["line_items"]] == [
        ("500", 0),
        ("-7", 0),
    ]
    assert invoice["total_amount"] == 0
    assert await books.invoice_refused("2026-04-15") == (409, "NOTHING_TO_INVOICE", None)


async def test_a_fee_in_advance_is_owed_at_the_start(books: Books) -> None:
    await books.plan({**BASE_FEE, "billing": "in_advance"})
    await books.customer()
    await books.subscribe()
    assert amounts(await books.invoice("2026-04-01")) == [("flat_fee", 4900)]
    assert await books.invoice_refused("2026-04-30") == (409, "NOTHING_TO_INVOICE", None)
    assert amounts(await books.invoice("2026-05-01")) == [("flat_fee", 4900)]


async def test_a_subscription_that_ended_is_billed_to_its_end(books: Books) -> None:
    await books.metric(**CALLS)
    await books.plan(BASE_FEE, PER_CALL)
    await books.customer()
    await books.subscribe(end_date="2026-04-16")
    await books.use(100, "2026-04-15T23:59:59Z")
    await books.use(100, "2026-04-16T00:00:00Z")
    invoice = await books.invoice("2026-05-05")
    assert amounts(invoice) == [("flat_fee", 4900), ("usage", 100)]
    assert invoice["period_end"] == "2026-04-16T00:00:00Z"
    assert await books.invoice_refused("2026-05-10") == (409, "NOTHING_TO_INVOICE", None)


async def test_events_accepted_before_the_call_are_on_the_invoice(books: Books) -> None:
    """Accepted, not landed: the invoice waits for the worker that lands them meanwhile."""
    await make_growth(books)
    event = {
        "customer_id": "acme",
        "metric_key": "api_calls",
        "value": 1_374_923,
        "timestamp": "2026-04-10T00:00:00Z",
        "idempotency_key": "k",
    }
    await books.post("/v1/events", 202, **event)
    invoicing = asyncio.create_task(books.invoice())
    await asyncio.sleep(0.05)
    assert not invoicing.done()
    await land_all(books.context)
    assert (await invoicing)["total_amount"] == 15775


async def test_currencies_without_and_with_three_decimals(books: Books) -> None:
    await books.metric(**CALLS)
    for currency, expected in (("jpy", 143), ("kwd", 142750)):
        charge = {**PER_CALL, "unit_price": "0.5"}
        await books.plan(charge, plan_id=currency, currency=currency.upper())
        await books.customer(currency)
        await books.subscribe(currency, currency)
        await books.use("285.5", customer_id=currency)
        invoice = await books.invoice(customer_id=currency)
        assert (invoice["total_amount"], invoice["currency"]) == (expected, currency)
