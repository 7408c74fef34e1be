"""Which instant a cutoff means, and which ones are refused."""

import pytest

from tests.support.books import Books, amounts, make_growth


@pytest.mark.parametrize(
    "cutoff",
    [
        "2026-04-30",
        "2026-05-01T00:00:00Z",
        "2026-04-30T23:59:59Z",
        "2026-04-30T23:59:59.999Z",
        "2026-05-01T01:59:59+02:00",
    ],
)
async def test_the_end_of_april_however_it_is_spelt(books: Books, cutoff: str) -> None:
    await make_growth(books)
    await books.use(1_374_923, "2026-04-30T23:59:59.999999Z")
    invoice = await books.invoice(cutoff)
    assert invoice["total_amount"] == 15775
    assert invoice["cutoff"] == "2026-05-01T00:00:00Z"
    assert await books.invoice_refused(cutoff) == (409, "NOTHING_TO_INVOICE", None)


async def test_a_timestamp_is_excluded(books: Books) -> None:
    await make_growth(books)
    await books.use(200_000, "2026-04-10T12:00:00Z")
    await books.use(100_000, "2026-04-10T12:00:01Z")
    assert amounts(await books.invoice("2026-04-10T12:00:01Z")) == [("usage", 1000)]


async def test_a_timestamp_two_seconds_before_the_end_is_just_that(books: Books) -> None:
    await make_growth(books)
    await books.use(200_000)
    assert amounts(await books.invoice("2026-04-30T23:59:58Z")) == [("usage", 1000)]


async def test_a_cutoff_may_be_a_day_ahead_and_no_more(books: Books) -> None:
    await make_growth(books)
    await books.use(200_000, "2026-05-10T11:00:00Z")
    assert await books.invoice_refused("2026-05-11") == (422, "CUTOFF_IN_FUTURE", "cutoff_date")
    assert await books.invoice_refused("2026-05-11T12:00:01Z") == (
        422,
        "CUTOFF_IN_FUTURE",
        "cutoff_date",
    )
    assert amounts(await books.invoice("2026-05-11T12:00:00Z")) == [
        ("flat_fee", 4900),
        ("usage", 1000),
    ]


async def test_a_cutoff_before_the_last_invoice_is_refused_and_changes_nothing(
    books: Books,
) -> None:
    await make_growth(books)
    await books.use(200_000)
    await books.invoice("2026-04-20")
    assert await books.invoice_refused("2026-04-15") == (422, "VALIDATION_FAILED", "cutoff_date")
    await books.invoice("2026-04-30")
    assert await books.invoice_refused("2026-04-29") == (422, "VALIDATION_FAILED", "cutoff_date")
    assert len((await books.get("/v1/invoices"))["data"]) == 2


@pytest.mark.parametrize("cutoff", ["2026-04-31", "2026-04-30T12:00:00", "april", "20260430"])
async def test_what_is_no_cutoff(books: Books, cutoff: str) -> None:
    await make_growth(books)
    assert await books.invoice_refused(cutoff) == (422, "VALIDATION_FAILED", "cutoff_date")


async def test_an_unknown_customer(books: Books) -> None:
    assert await books.invoice_refused(customer_id="nobody") == (
        404,
        "CUSTOMER_NOT_FOUND",
        "customer_id",
    )


async def test_a_customer_without_subscriptions(books: Books) -> None:
    await books.customer()
    assert await books.invoice_refused() == (409, "NOTHING_TO_INVOICE", None)
