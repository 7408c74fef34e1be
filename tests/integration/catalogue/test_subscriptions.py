"""Subscriptions: pinned versions, one currency, a metric priced once, states by time."""

import asyncio
from datetime import timedelta

from tests.integration.catalogue.conftest import Api, growth
from tests.support.clock import FakeClock

START = {"customer_id": "acme", "plan_id": "growth", "start_date": "2026-05-01"}
FEE_ONLY = [{"pricing_model": "flat_fee", "amount": 1}]


async def test_a_subscription_is_answered_in_full(catalogue: Api) -> None:
    made = await catalogue.made("/v1/subscriptions", START)
    assert made["id"].startswith("sub_")
    assert made == {
        "id": made["id"],
        "customer_id": "acme",
        "plan_id": "growth",
        "plan_version": 1,
        "status": "active",
        "start_date": "2026-05-01T00:00:00Z",
        "end_date": None,
        "current_period": {"start": "2026-05-01T00:00:00Z", "end": "2026-06-01T00:00:00Z"},
        "pending_amendments": [],
        "created_at": "2026-05-10T12:00:00Z",
    }
    assert await catalogue.got(f"/v1/subscriptions/{made['id']}") == made
    assert (await catalogue.got("/v1/customers/acme"))["currency"] == "usd"


async def test_dates_are_midnights_and_instants_keep_their_offset(catalogue: Api) -> None:
    made = await catalogue.made(
        "/v1/subscriptions",
        {**START, "start_date": "2026-05-01T02:00:00+02:00", "end_date": "2026-05-15"},
    )
    assert made["start_date"] == "2026-05-01T00:00:00Z"
    assert made["end_date"] == "2026-05-15T00:00:00Z"
    assert made["current_period"]["end"] == "2026-05-15T00:00:00Z"


async def test_status_follows_time(catalogue: Api, clock: FakeClock) -> None:
    made = await catalogue.made(
        "/v1/subscriptions", {**START, "start_date": "2026-05-11", "end_date": "2026-05-12"}
    )
    for day, status in ((0, "scheduled"), (1, "active"), (2, "ended")):
        clock.advance(timedelta(days=min(day, 1)))
        found = await catalogue.got(f"/v1/subscriptions/{made['id']}")
        assert found["status"] == status
        assert (found["current_period"] is not None) == (status == "active")


async def test_the_version_is_pinned(catalogue: Api) -> None:
    made = await catalogue.made("/v1/subscriptions", START)
    await catalogue.made("/v1/price-plans", growth())
    assert (await catalogue.got(f"/v1/subscriptions/{made['id']}"))["plan_version"] == 1


async def test_the_version_defaults_to_the_active_one(catalogue: Api, clock: FakeClock) -> None:
    june = "2026-06-01T00:00:00Z"
    await catalogue.made("/v1/price-plans", growth(charges=FEE_ONLY, effective_from=june))
    past = await catalogue.made("/v1/subscriptions", {**START, "start_date": "2013-01-01"})
    assert past["plan_version"] == 1
    future = await catalogue.made("/v1/subscriptions", {**START, "start_date": "2026-06-01"})
    assert future["plan_version"] == 2


async def test_a_version_may_be_named(catalogue: Api) -> None:
    await catalogue.made("/v1/price-plans", growth())
    made = await catalogue.made("/v1/subscriptions", {**START, "plan_version": 1})
    assert made["plan_version"] == 1


async def test_a_deprecated_version_takes_nobody(catalogue: Api) -> None:
    running = await catalogue.made("/v1/subscriptions", START)
    await catalogue.post("/v1/price-plans/growth/versions/1/deprecate")
    await catalogue.made("/v1/customers", {"id": "beta"})
    deprecated = (409, "PLAN_VERSION_DEPRECATED", "plan_version")
    for named in ({}, {"plan_version": 1}):
        body = {**START, "customer_id": "beta", **named}
        assert await catalogue.refused("/v1/subscriptions", body) == deprecated
    found = await catalogue.got(f"/v1/subscriptions/{running['id']}")
    assert found["status"] == "active"


async def test_what_is_named_must_be_there(catalogue: Api) -> None:
    await catalogue.made(
        "/v1/price-plans", growth(id="later", effective_from="2027-01-01T00:00:00Z")
    )
    for change, expected in (
        ({"customer_id": "nope"}, (404, "CUSTOMER_NOT_FOUND", "customer_id")),
        ({"plan_id": "nope"}, (404, "PLAN_NOT_FOUND", "plan_id")),
        ({"plan_id": "nope", "plan_version": 1}, (404, "PLAN_NOT_FOUND", "plan_id")),
        ({"plan_version": 7}, (404, "PLAN_VERSION_NOT_FOUND", "plan_version")),
        ({"plan_id": "later"}, (404, "PLAN_VERSION_NOT_FOUND", "plan_id")),
    ):
        assert await catalogue.refused("/v1/subscriptions", {**START, **change}) == expected
    status, answer = await catalogue.get("/v1/subscriptions/sub_nope")
    assert (status, answer["error"]["code"]) == (404, "SUBSCRIPTION_NOT_FOUND")


async def test_the_first_subscription_fixes_the_currency(catalogue: Api) -> None:
    await catalogue.made("/v1/price-plans", growth(id="euro", currency="eur", charges=FEE_ONLY))
    await catalogue.made("/v1/price-plans", growth(id="fee", charges=FEE_ONLY))
    await catalogue.made("/v1/subscriptions", START)
    mismatch = (409, "CURRENCY_MISMATCH", "plan_id")
    assert await catalogue.refused("/v1/subscriptions", {**START, "plan_id": "euro"}) == mismatch
    await catalogue.made("/v1/subscriptions", {**START, "plan_id": "fee"})


async def test_a_refused_subscription_leaves_nothing(catalogue: Api) -> None:
    await catalogue.made("/v1/subscriptions", {**START, "end_date": "2026-06-01"})
    await catalogue.made("/v1/customers", {"id": "beta"})
    await catalogue.refused("/v1/subscriptions", {**START, "customer_id": "beta", "plan_id": "x"})
    assert (await catalogue.got("/v1/customers/beta"))["currency"] is None
    assert await catalogue.refused("/v1/subscriptions", START) == (
        409,
        "METRIC_ALREADY_PRICED",
        "plan_id",
    )
    assert len((await catalogue.got("/v1/subscriptions"))["data"]) == 1


async def test_a_metric_is_priced_once_at_a_time(catalogue: Api) -> None:
    first = await catalogue.made("/v1/subscriptions", {**START, "end_date": "2026-06-01"})
    status, answer = await catalogue.post(
        "/v1/subscriptions", {**START, "start_date": "2026-05-31"}
    )
    assert (status, answer["error"]["code"]) == (409, "METRIC_ALREADY_PRICED")
    assert answer["error"]["details"] == {"metric_key": "calls", "subscription_id": first["id"]}
    await catalogue.made("/v1/subscriptions", {**START, "start_date": "2026-06-01"})
    await catalogue.made("/v1/customers", {"id": "beta"})
    await catalogue.made("/v1/subscriptions", {**START, "customer_id": "beta"})


async def test_rivals_price_a_metric_once(catalogue: Api) -> None:
    answers = await asyncio.gather(*(catalogue.post("/v1/subscriptions", START) for _ in range(12)))
    assert sorted(status for status, _ in answers) == [201] + [409] * 11
    assert len((await catalogue.got("/v1/subscriptions"))["data"]) == 1


async def test_rivals_fix_one_currency(catalogue: Api) -> None:
    await catalogue.made("/v1/price-plans", growth(id="euro", currency="eur", charges=FEE_ONLY))
    await catalogue.made("/v1/price-plans", growth(id="yen", currency="jpy", charges=FEE_ONLY))
    answers = await asyncio.gather(
        *(
            catalogue.post("/v1/subscriptions", {**START, "plan_id": plan})
            for plan in ("euro", "yen") * 5
        )
    )
    assert sorted(status for status, _ in answers) == [201] * 5 + [409] * 5
    assert {answer["error"]["code"] for status, answer in answers if status == 409} == {
        "CURRENCY_MISMATCH"
    }


async def test_subscriptions_are_paged_newest_first(catalogue: Api, clock: FakeClock) -> None:
    await catalogue.made("/v1/customers", {"id": "beta"})
    made = []
    for month, customer in ((1, "acme"), (2, "beta"), (3, "acme")):
        body = {
            "customer_id": customer,
            "plan_id": "growth",
            "start_date": f"2026-0{month}-01",
            "end_date": f"2026-0{month}-02",
        }
        made.append((await catalogue.made("/v1/subscriptions", body))["id"])
        clock.advance(timedelta(seconds=1))
    first = await catalogue.got("/v1/subscriptions", limit=2)
    rest = await catalogue.got("/v1/subscriptions", limit=2, cursor=first["next_cursor"])
    assert [one["id"] for one in first["data"] + rest["data"]] == made[::-1]
    acme = await catalogue.got("/v1/subscriptions", customer_id="acme")
    assert [one["id"] for one in acme["data"]] == [made[2], made[0]]
    assert (await catalogue.got("/v1/subscriptions", customer_id="nobody"))["data"] == []
