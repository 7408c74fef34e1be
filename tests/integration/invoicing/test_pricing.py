"""Previews and calculations through the API, and invoices made from calculations."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from tests.support.books import BASE_FEE, CALLS, GROWTH, Books, amounts, make_growth
from tests.support.clock import FakeClock

APRIL = {"period_start": "2026-04-01", "period_end": "2026-04-30"}

V2_CALLS = {
    "pricing_model": "tiered",
    "metric_key": "api_calls",
    "tiers": [
        {"up_to": 200_000, "unit_price": 0},
        {"up_to": 1_000_000, "unit_price": "0.00009"},
        {"up_to": None, "unit_price": "0.00004"},
    ],
}
VOLUME = {
    "pricing_model": "volume",
    "metric_key": "api_calls",
    "tiers": [{"up_to": 1_000, "unit_price": "0.10"}, {"up_to": None, "unit_price": "0.07"}],
}
PACKAGE = {
    "pricing_model": "package",
    "metric_key": "api_calls",
    "package_size": 1_000,
    "package_price": "8.00",
}


def per_unit(unit_price: str) -> dict[str, object]:
    return {"pricing_model": "per_unit", "metric_key": "api_calls", "unit_price": unit_price}


async def calculate(books: Books, **fields: object) -> dict[str, object]:
    return await books.post(
        "/v1/pricing/calculate", 200, **{"customer_id": "acme", **APRIL, **fields}
    )


@pytest.mark.parametrize(
    ("charges", "quantity", "total"),
    [
        (GROWTH, 1_374_923, 15775),
        ((BASE_FEE, V2_CALLS), 1_374_923, 13600),
        ((per_unit("0.0002"),), 500_000, 10000),
        ((VOLUME,), 5_000, 35000),
        ((PACKAGE,), 1_500, 1600),
        ((per_unit("0.08"),), "142.75", 1142),
    ],
    ids=["growth v1", "growth v2", "per_unit", "volume", "package", "fraction"],
)
async def test_the_golden_numbers(
    books: Books, charges: tuple[Mapping[str, object], ...], quantity: object, total: int
) -> None:
    await books.metric(**CALLS)
    await books.plan(*charges)
    preview = await books.post(
        "/v1/pricing/preview", 200, plan_id="growth", usage={"api_calls": quantity}
    )
    assert preview["total_amount"] == total
    assert sum(line["amount"] for line in preview["line_items"]) == total
    for priced in (preview, *preview["line_items"]):
        assert (priced["plan_id"], priced["plan_version"]) == ("growth", 1)


async def test_a_preview_of_a_version_and_of_nothing(books: Books) -> None:
    await books.metric(**CALLS)
    await books.plan(*GROWTH)
    await books.plan(BASE_FEE, V2_CALLS)
    usage = {"api_calls": 1_374_923}
    first = await books.post(
        "/v1/pricing/preview", 200, plan_id="growth", plan_version=1, usage=usage
    )
    active = await books.post("/v1/pricing/preview", 200, plan_id="growth", usage=usage)
    nothing = await books.post("/v1/pricing/preview", 200, plan_id="growth")
    assert [one["total_amount"] for one in (first, active, nothing)] == [15775, 13600, 4900]


async def test_previews_that_make_no_sense(books: Books) -> None:
    await books.metric(**CALLS)
    await books.plan(*GROWTH)
    preview = "/v1/pricing/preview"
    assert await books.refused(preview, plan_id="none") == (404, "PLAN_NOT_FOUND", "plan_id")
    assert await books.refused(preview, plan_id="growth", plan_version=9) == (
        404,
        "PLAN_VERSION_NOT_FOUND",
        "plan_version",
    )
    assert await books.refused(preview, plan_id="growth", usage={"calls": 1}) == (
        422,
        "VALIDATION_FAILED",
        "usage.calls",
    )
    too_much = {"api_calls": "9" * 28}
    assert (await books.refused(preview, plan_id="growth", usage=too_much))[:2] == (
        422,
        "VALIDATION_FAILED",
    )


async def test_a_calculation_is_what_would_be_invoiced(books: Books) -> None:
    await make_growth(books)
    await books.use(1_374_923)
    calculation = await calculate(books)
    assert (calculation["total_amount"], calculation["currency"]) == (15775, "usd")
    assert calculation["period_end"] == "2026-05-01T00:00:00Z"
    assert calculation["expires_at"] == "2026-05-11T12:00:00Z"
    invoice = await books.invoice()
    assert invoice["line_items"] == calculation["line_items"]
    assert (await calculate(books))["line_items"] == []


async def test_an_invoice_takes_a_calculation_as_it_is(books: Books) -> None:
    await make_growth(books)
    await books.use(1_000_000)
    calculation = await calculate(books)
    await books.use(374_923)

    invoice = await books.invoice(calculation_id=calculation["calculation_id"])

    assert invoice["total_amount"] == 13900
    assert invoice["line_items"] == calculation["line_items"]
    assert invoice["calculation_id"] == calculation["calculation_id"]
    rest = await books.invoice()
    assert amounts(rest) == [("usage", 1875)]
    assert await books.invoice_refused() == (409, "NOTHING_TO_INVOICE", None)


async def test_a_calculation_is_invoiced_once(books: Books) -> None:
    await make_growth(books)
    await books.use(1_000_000)
    calculation_id = (await calculate(books))["calculation_id"]
    await books.invoice(calculation_id=calculation_id)
    assert await books.invoice_refused(calculation_id=calculation_id) == (
        409,
        "CALCULATION_OUTDATED",
        "calculation_id",
    )


async def test_a_calculation_is_outdated_by_an_invoice_between(books: Books) -> None:
    await make_growth(books)
    await books.use(1_000_000)
    calculation_id = (await calculate(books))["calculation_id"]
    await books.invoice("2026-04-20")
    assert await books.invoice_refused(calculation_id=calculation_id) == (
        409,
        "CALCULATION_OUTDATED",
        "calculation_id",
    )


async def test_a_calculation_of_part_leaves_the_rest_to_the_next_invoice(books: Books) -> None:
    await make_growth(books)
    await books.use(200_000, "2026-04-10T00:00:00Z")
    await books.use(300_000, "2026-05-02T00:00:00Z")
    part = await calculate(books, period_start="2026-05-01", period_end="2026-05-05")
    assert part["total_amount"] == 2000
    await books.invoice("2026-05-05", calculation_id=part["calculation_id"])
    rest = await books.invoice("2026-05-05")
    assert amounts(rest) == [("flat_fee", 4900), ("usage", 1000)]
    assert rest["period_end"] == "2026-05-01T00:00:00Z"


async def test_calculations_that_do_not_fit(books: Books, clock: FakeClock) -> None:
    await make_growth(books)
    await books.customer("beta")
    await books.use(1_000_000)
    calculation_id = (await calculate(books))["calculation_id"]
    mismatch = (422, "CALCULATION_MISMATCH", "calculation_id")
    assert await books.invoice_refused("2026-04-29", calculation_id=calculation_id) == mismatch
    assert (
        await books.invoice_refused(customer_id="beta", calculation_id=calculation_id) == mismatch
    )
    assert await books.invoice_refused(calculation_id="calc_none") == (
        404,
        "CALCULATION_NOT_FOUND",
        "calculation_id",
    )
    clock.advance(timedelta(hours=24))
    assert await books.invoice_refused(calculation_id=calculation_id) == (
        422,
        "CALCULATION_EXPIRED",
        "calculation_id",
    )


async def test_a_calculation_of_what_was_invoiced_long_ago_gives_nothing_back(
    books: Books,
) -> None:
    await make_growth(books)
    await books.use(1_000_000, "2026-04-10T00:00:00Z")
    await books.invoice("2026-04-20")
    assert (await calculate(books, period_end="2026-04-12"))["line_items"] == []


async def test_calculations_for_whom_nothing_is_priced(books: Books) -> None:
    await books.customer()
    calculation = await calculate(books)
    assert (calculation["total_amount"], calculation["currency"]) == (0, None)
    assert await books.invoice_refused(calculation_id=calculation["calculation_id"]) == (
        409,
        "NOTHING_TO_INVOICE",
        None,
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"period_start": "2026-05-01"}, "period_end"),
        ({"period_start": "nothing"}, "period_start"),
        ({"period_end": "2027-12-31"}, "period_end"),
    ],
)
async def test_calculations_over_no_time(books: Books, fields: dict[str, str], field: str) -> None:
    await make_growth(books)
    refused = await books.refused(
        "/v1/pricing/calculate", **{"customer_id": "acme", **APRIL, **fields}
    )
    assert refused == (422, "VALIDATION_FAILED", field)
