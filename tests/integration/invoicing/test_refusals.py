"""What is refused says why and at which field, and leaves every table as it was."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.books import BASE_FEE, CALLS, PER_CALL, Answer, Books, keeping
from tests.support.clock import FakeClock
from tests.support.dumps import dump
from tests.support.postgres import TestDatabases

Refusal = tuple[int, str, str | None]

NOON = datetime(2026, 4, 10, 12, tzinfo=UTC)
INVALID = "VALIDATION_FAILED"
CLOCK = FakeClock()
NOW = {"effective": "immediate"}
CHANGE = {"type": "plan_change", **NOW}


@dataclass(frozen=True, slots=True)
class Known:
    """Ids of what there is."""

    subscription: str
    cancelled: str
    applied: str
    paid: str
    archived: str
    of_another: str
    expired: str
    outdated: str


@pytest.fixture(scope="module")
async def books(module_databases: TestDatabases) -> AsyncIterator[Books]:
    """For all tests here: none of them may change anything."""
    async with keeping(module_databases, CLOCK) as books:
        yield books


@pytest.fixture(scope="module")
async def known(books: Books) -> Known:
    """At noon on 10 April: acme, invoiced to 9 April with amendments that are due and
    wait; beta, who has cancelled.
    """
    CLOCK.set(NOON - timedelta(days=1, hours=6))
    await _catalogue(books)
    subscription, cancelled = await _customers(books)
    expired = await _calculation(books, "acme", "2026-04-08")
    applied = await _amend(books, cancelled, type="cancel", **NOW)
    paid = await books.invoice("2026-04-02")
    await books.post(f"/v1/invoices/{paid['id']}/charge", 200)
    archived = await books.invoice("2026-04-06")
    await books.post(f"/v1/invoices/{archived['id']}/archive", 200, reason="in error")
    CLOCK.set(NOON - timedelta(hours=5))
    outdated = await _calculation(books, "acme", "2026-04-09")
    await books.invoice("2026-04-09")
    await _amend(books, subscription, type="pause", effective="2026-04-10T11:00:00Z")
    await _amend(books, subscription, type="resume", effective="2026-04-10T11:30:00Z")
    CLOCK.set(NOON)
    of_another = await _calculation(books, "beta", "2026-04-10")
    return Known(
        subscription=subscription,
        cancelled=cancelled,
        applied=applied["id"],
        paid=paid["id"],
        archived=archived["id"],
        of_another=of_another["calculation_id"],
        expired=expired["calculation_id"],
        outdated=outdated["calculation_id"],
    )


async def _catalogue(books: Books) -> None:
    await books.metric(**CALLS)
    await books.metric(key="seats", aggregation="max")
    seat = {"pricing_model": "per_unit", "metric_key": "seats", "unit_price": 1}
    await books.plan(BASE_FEE, PER_CALL)
    await books.plan(BASE_FEE, PER_CALL)
    await books.plan(BASE_FEE, PER_CALL)
    await books.post("/v1/price-plans/growth/versions/3/deprecate", 200)
    await books.plan(BASE_FEE, plan_id="euro", currency="eur")
    await books.plan(BASE_FEE, plan_id="yearly", billing_period="annual")
    await books.plan(BASE_FEE, plan_id="old")
    await books.post("/v1/price-plans/old/versions/1/deprecate", 200)
    await books.plan(BASE_FEE, plan_id="coming", effective_from="2027-01-01T00:00:00Z")
    await books.plan(seat, plan_id="seats")
    await books.plan(PER_CALL, seat, plan_id="both")


async def _customers(books: Books) -> tuple[str, str]:
    """The subscriptions of acme, who has one more, and of beta; gamma has none."""
    method = {"provider_customer_id": "cus_1", "provider_payment_method": "pm_ok"}
    await books.customer(payment_method=method)
    await books.customer("beta")
    await books.customer("gamma")
    subscription = await books.subscribe(plan_version=1)
    await books.subscribe(plan_id="seats")
    for number, day in enumerate((1, 5, 8)):
        await books.use(100, f"2026-04-{day:02d}T00:00:00Z", idempotency_key=f"k{number}")
    return subscription, await books.subscribe("beta")


async def _amend(books: Books, subscription_id: str, **fields: object) -> Answer:
    return await books.post(f"/v1/subscriptions/{subscription_id}/amendments", **fields)


async def _calculation(books: Books, customer_id: str, end: str) -> Answer:
    asked = {"customer_id": customer_id, "period_start": "2026-04-01", "period_end": end}
    return await books.post("/v1/pricing/calculate", 200, **asked)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"type": "cancel", "effective": "2026-04-10T11:59:59Z"}, (422, INVALID, "effective")),
        ({"type": "cancel", "effective": "2026-04-09"}, (422, INVALID, "effective")),
        ({"type": "cancel", "effective": "yesterday"}, (422, INVALID, "effective")),
        ({"type": "cancel", "effective": "2026-04-11T00:00:00"}, (422, INVALID, "effective")),
        ({"type": "cancel"}, (422, INVALID, "effective")),
        ({**NOW}, (422, INVALID, "type")),
        ({"type": "end", **NOW}, (422, INVALID, "type")),
        ({"type": "cancel", **NOW, "when": "now"}, (422, "UNKNOWN_FIELD", "when")),
        ({"type": "cancel", **NOW, "resume_date": "2026-05-01"}, (422, INVALID, "resume_date")),
        ({"type": "cancel", **NOW, "prorate": "yes"}, (422, INVALID, "prorate")),
        ({"type": "cancel", **NOW, "reason": ""}, (422, INVALID, "reason")),
        ({"type": "resume", **NOW}, (409, "INVALID_STATE", None)),
        ({"type": "pause", **NOW, "resume_date": "2026-04-10"}, (422, INVALID, "resume_date")),
        ({"type": "end_date_change", **NOW}, (422, INVALID, "end_date")),
        (
            {"type": "end_date_change", **NOW, "end_date": "2026-03-01"},
            (422, INVALID, "end_date"),
        ),
        (
            {"type": "end_date_change", **NOW, "end_date": "2026-04-10T12:00:00Z"},
            (422, INVALID, "end_date"),
        ),
        ({**CHANGE}, (422, INVALID, "plan_id")),
        ({**CHANGE, "plan_id": "nobody"}, (404, "PLAN_NOT_FOUND", "plan_id")),
        (
            {**CHANGE, "plan_id": "growth", "plan_version": 9},
            (404, "PLAN_VERSION_NOT_FOUND", "plan_version"),
        ),
        ({**CHANGE, "plan_id": "growth", "plan_version": 0}, (422, INVALID, "plan_version")),
        (
            {**CHANGE, "plan_id": "growth", "plan_version": 3},
            (409, "PLAN_VERSION_DEPRECATED", "plan_version"),
        ),
        ({**CHANGE, "plan_id": "old"}, (409, "PLAN_VERSION_DEPRECATED", "plan_version")),
        ({**CHANGE, "plan_id": "coming"}, (404, "PLAN_VERSION_NOT_FOUND", "plan_id")),
        ({**CHANGE, "plan_id": "euro"}, (409, "CURRENCY_MISMATCH", "plan_id")),
        ({**CHANGE, "plan_id": "yearly"}, (409, "INVALID_STATE", "plan_id")),
        ({**CHANGE, "plan_id": "both"}, (409, "METRIC_ALREADY_PRICED", "plan_id")),
        ({**CHANGE, "plan_id": "growth", "plan_version": 1}, (409, "INVALID_STATE", None)),
    ],
)
async def test_amendments_that_are_refused(
    books: Books, known: Known, fields: dict[str, object], refusal: Refusal
) -> None:
    path = f"/v1/subscriptions/{known.subscription}/amendments"
    await _check_refused(books, path, fields, refusal)


@pytest.mark.parametrize("type_", ["cancel", "pause", "resume"])
async def test_nothing_amends_what_is_cancelled(books: Books, known: Known, type_: str) -> None:
    path = f"/v1/subscriptions/{known.cancelled}/amendments"
    refusal = (409, "INVALID_STATE", None)
    await _check_refused(books, path, {"type": type_, **NOW}, refusal)


async def test_nothing_amends_what_is_not_there(books: Books, known: Known) -> None:
    path = "/v1/subscriptions/sub_nobody/amendments"
    missing = (404, "SUBSCRIPTION_NOT_FOUND", "subscription_id")
    await _check_refused(books, path, {"type": "pause", **NOW}, missing)


async def test_amendments_that_cannot_be_cancelled(books: Books, known: Known) -> None:
    path = f"/v1/subscriptions/{known.cancelled}/amendments"
    await _check_refused(books, f"{path}/{known.applied}/cancel", {}, (409, "INVALID_STATE", None))
    missing = (404, "AMENDMENT_NOT_FOUND", None)
    await _check_refused(books, f"{path}/amd_nobody/cancel", {}, missing)
    of_another = f"/v1/subscriptions/{known.subscription}/amendments/{known.applied}/cancel"
    await _check_refused(books, of_another, {}, missing)


@pytest.mark.parametrize(
    ("calculation", "end", "refusal"),
    [
        ("of_another", "2026-04-10", (422, "CALCULATION_MISMATCH", "calculation_id")),
        ("expired", "2026-04-08", (422, "CALCULATION_EXPIRED", "calculation_id")),
        ("outdated", "2026-04-09", (409, "CALCULATION_OUTDATED", "calculation_id")),
        ("outdated", "2026-04-10", (422, "CALCULATION_MISMATCH", "calculation_id")),
    ],
)
async def test_calculations_that_are_refused(
    books: Books, known: Known, calculation: str, end: str, refusal: Refusal
) -> None:
    fields = {
        "customer_id": "acme",
        "cutoff_date": end,
        "calculation_id": getattr(known, calculation),
    }
    await _check_refused(books, "/v1/invoices", fields, refusal)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"cutoff_date": "2026-04-08"}, (422, INVALID, "cutoff_date")),
        ({"cutoff_date": "2026-03-01"}, (422, INVALID, "cutoff_date")),
        ({"cutoff_date": "2026-04-12"}, (422, "CUTOFF_IN_FUTURE", "cutoff_date")),
        ({"cutoff_date": "2026-04-31"}, (422, INVALID, "cutoff_date")),
        ({}, (422, INVALID, "cutoff_date")),
        (
            {"cutoff_date": "2026-04-10", "customer_id": "nobody"},
            (404, "CUSTOMER_NOT_FOUND", "customer_id"),
        ),
        (
            {"cutoff_date": "2026-04-10", "customer_id": "gamma"},
            (409, "NOTHING_TO_INVOICE", None),
        ),
        (
            {"cutoff_date": "2026-04-10", "calculation_id": "calc_nobody"},
            (404, "CALCULATION_NOT_FOUND", "calculation_id"),
        ),
    ],
)
async def test_invoices_that_are_refused(
    books: Books, known: Known, fields: dict[str, object], refusal: Refusal
) -> None:
    await _check_refused(books, "/v1/invoices", {"customer_id": "acme", **fields}, refusal)


async def test_bulk_runs_that_are_refused(books: Books, known: Known) -> None:
    path = "/v1/invoices/bulk"
    too_far = (422, "CUTOFF_IN_FUTURE", "cutoff_date")
    await _check_refused(books, path, {"cutoff_date": "2026-04-12"}, too_far)
    charge = {"cutoff_date": "2026-04-10", "charge": "yes"}
    await _check_refused(books, path, charge, (422, INVALID, "charge"))


@pytest.mark.parametrize("status", ["paid", "archived"])
async def test_what_is_final_is_not_archived(books: Books, known: Known, status: str) -> None:
    path = f"/v1/invoices/{getattr(known, status)}"
    final = (409, "INVALID_STATE", None)
    await _check_refused(books, f"{path}/archive", {"reason": "no"}, final)
    await _check_refused(books, f"{path}/charge", {}, final)
    await _check_refused(books, f"{path}/archive", {}, (422, INVALID, "reason"))


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"end_date": "2026-03-31"}, (422, INVALID, "end_date")),
        ({"end_date": "2026-04-01"}, (422, INVALID, "end_date")),
        ({"plan_id": "old"}, (409, "PLAN_VERSION_DEPRECATED", "plan_version")),
        ({"plan_version": 9}, (404, "PLAN_VERSION_NOT_FOUND", "plan_version")),
        ({"customer_id": "acme"}, (409, "METRIC_ALREADY_PRICED", "plan_id")),
        ({"customer_id": "acme", "plan_id": "euro"}, (409, "CURRENCY_MISMATCH", "plan_id")),
    ],
)
async def test_subscriptions_that_are_refused(
    books: Books, known: Known, fields: dict[str, object], refusal: Refusal
) -> None:
    asked = {"customer_id": "gamma", "plan_id": "growth", "start_date": "2026-04-01", **fields}
    await _check_refused(books, "/v1/subscriptions", asked, refusal)


async def _check_refused(
    books: Books, path: str, fields: Mapping[str, object], refusal: Refusal
) -> None:
    """With an idempotency key too, which is not used up by it."""
    before = await dump(books.context.database)
    assert await books.refused(path, **fields) == refusal
    assert await books.refused(path, **fields, idempotency_key="again") == refusal
    assert await dump(books.context.database) == before
