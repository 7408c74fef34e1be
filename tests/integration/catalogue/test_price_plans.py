"""Price plans: documents that never change, versions without gaps, status by time."""

import asyncio
from datetime import timedelta

from tests.integration.catalogue.conftest import Api, growth
from tests.support.clock import FakeClock


async def test_a_plan_is_answered_in_full(catalogue: Api) -> None:
    plan = await catalogue.made(
        "/v1/price-plans",
        growth(
            id="full",
            changelog="first",
            entitlements=[
                {"feature_key": "sso", "type": "boolean", "value": True},
                {"feature_key": "calls", "type": "limit", "limit": 5000.50, "metric_key": "calls"},
                {"feature_key": "seats", "type": "limit", "limit": None, "metric_key": "users"},
                {"feature_key": "support", "type": "custom", "value": "gold"},
            ],
        ),
    )
    ids = [charge.pop("id") for charge in plan["charges"]]
    assert all(one.startswith("chg_") for one in ids)
    assert len(set(ids)) == len(ids)
    assert plan == {
        "id": "full",
        "version": 1,
        "name": "Growth",
        "currency": "usd",
        "billing_period": "monthly",
        "status": "active",
        "effective_from": "2026-05-10T12:00:00Z",
        "deprecated_at": None,
        "changelog": "first",
        "charges": [
            {
                "pricing_model": "flat_fee",
                "description": None,
                "amount": "49",
                "metric_key": None,
                "billing": "in_arrears",
            },
            {
                "pricing_model": "tiered",
                "description": None,
                "metric_key": "calls",
                "tiers": [
                    {"up_to": "100000", "unit_price": "0", "flat_amount": None},
                    {"up_to": "1000000", "unit_price": "0.0001", "flat_amount": None},
                    {"up_to": None, "unit_price": "0.00005", "flat_amount": None},
                ],
            },
        ],
        "entitlements": [
            {"feature_key": "sso", "type": "boolean", "value": True},
            {"feature_key": "calls", "type": "limit", "limit": "5000.5", "metric_key": "calls"},
            {"feature_key": "seats", "type": "limit", "limit": None, "metric_key": "users"},
            {"feature_key": "support", "type": "custom", "value": "gold"},
        ],
        "created_at": "2026-05-10T12:00:00Z",
    }
    stored = await catalogue.got("/v1/price-plans/full")
    assert [charge.pop("id") for charge in stored["charges"]] == ids
    assert stored == plan


async def test_every_pricing_model_is_kept(catalogue: Api) -> None:
    tiers = [
        {"up_to": "10", "unit_price": "1", "flat_amount": "5"},
        {"up_to": None, "unit_price": 2},
    ]
    charges = [
        {"pricing_model": "per_unit", "metric_key": "calls", "unit_price": "0.0002"},
        {"pricing_model": "volume", "metric_key": "calls", "tiers": tiers},
        {
            "pricing_model": "package",
            "metric_key": "users",
            "package_size": 1000,
            "package_price": 8,
            "free_units": "2.5",
        },
        {"pricing_model": "flat_fee", "amount": 1, "metric_key": None, "billing": "in_advance"},
    ]
    plan = await catalogue.made("/v1/price-plans", growth(id="models", charges=charges))
    assert [charge["pricing_model"] for charge in plan["charges"]] == [
        charge["pricing_model"] for charge in charges
    ]
    assert plan["charges"][1]["tiers"][0]["flat_amount"] == "5"
    assert plan["charges"][2]["free_units"] == "2.5"
    assert plan["charges"][3]["billing"] == "in_advance"


async def test_the_older_dialect_is_read(catalogue: Api) -> None:
    charges = [
        {"model": "per_unit", "metric_key": "calls", "unit_amount": "0.5"},
        {
            "model": "tiered",
            "metric_key": "calls",
            "properties": {"tiers": [{"up_to": None, "unit_amount": 3}]},
        },
    ]
    body = growth(id="old", charges=charges, display_name="Older")
    del body["name"]
    plan = await catalogue.made("/v1/price-plans", body)
    assert plan["name"] == "Older"
    assert plan["charges"][0]["unit_price"] == "0.5"
    assert plan["charges"][1]["tiers"] == [{"up_to": None, "unit_price": "3", "flat_amount": None}]


async def test_billing_periods_have_names_or_counts(catalogue: Api) -> None:
    for sent, answered in (
        ("quarterly", "quarterly"),
        ({"interval": "month", "count": 2}, {"interval": "month", "count": 2}),
        ({"interval": "month", "count": 3}, "quarterly"),
        ({"interval": "year"}, "annual"),
    ):
        plan = await catalogue.made("/v1/price-plans", growth(id="p", billing_period=sent))
        assert plan["billing_period"] == answered


async def test_posting_again_makes_the_next_version(catalogue: Api) -> None:
    first = await catalogue.got("/v1/price-plans/growth/versions/1")
    second = await catalogue.made("/v1/price-plans", growth(name="Growth 2"))
    assert (second["version"], second["status"]) == (2, "active")
    again = await catalogue.got("/v1/price-plans/growth/versions/1")
    assert again == {**first, "status": "superseded"}
    assert (await catalogue.got("/v1/price-plans/growth"))["version"] == 2
    listed = await catalogue.got("/v1/price-plans/growth/versions")
    assert [version["version"] for version in listed["data"]] == [2, 1]


async def test_rivals_get_versions_without_gap(catalogue: Api) -> None:
    plans = await asyncio.gather(
        *(catalogue.made("/v1/price-plans", growth(name=f"n{n}")) for n in range(8))
    )
    assert sorted(plan["version"] for plan in plans) == list(range(2, 10))


async def test_status_follows_time(catalogue: Api, clock: FakeClock) -> None:
    later = (clock.now + timedelta(days=1)).isoformat()
    plan = await catalogue.made("/v1/price-plans", growth(effective_from=later))
    assert plan["status"] == "scheduled"
    assert (await catalogue.got("/v1/price-plans/growth"))["version"] == 1
    clock.advance(timedelta(days=1))
    assert (await catalogue.got("/v1/price-plans/growth"))["version"] == 2
    assert (await catalogue.got("/v1/price-plans/growth/versions/1"))["status"] == "superseded"


async def test_deprecation_keeps_its_first_instant(catalogue: Api, clock: FakeClock) -> None:
    await catalogue.made("/v1/price-plans", growth())
    status, plan = await catalogue.post("/v1/price-plans/growth/versions/2/deprecate")
    assert (status, plan["status"]) == (200, "deprecated")
    clock.advance(timedelta(days=1))
    _, again = await catalogue.post("/v1/price-plans/growth/versions/2/deprecate")
    assert again["deprecated_at"] == plan["deprecated_at"] == "2026-05-10T12:00:00Z"
    current = await catalogue.got("/v1/price-plans/growth")
    assert (current["version"], current["status"]) == (1, "active")
    await catalogue.post("/v1/price-plans/growth/versions/1/deprecate")
    current = await catalogue.got("/v1/price-plans/growth")
    assert (current["version"], current["status"]) == (2, "deprecated")


async def test_what_is_not_there_is_a_404(catalogue: Api) -> None:
    for path, code in {
        "/v1/price-plans/nope": "PLAN_NOT_FOUND",
        "/v1/price-plans/nope/versions": "PLAN_NOT_FOUND",
        "/v1/price-plans/nope/versions/1": "PLAN_NOT_FOUND",
        "/v1/price-plans/growth/versions/2": "PLAN_VERSION_NOT_FOUND",
    }.items():
        status, answer = await catalogue.get(path)
        assert (status, answer["error"]["code"]) == (404, code)
    for version in ("0", "x", "99999999999"):
        status, answer = await catalogue.get(f"/v1/price-plans/growth/versions/{version}")
        assert (status, answer["error"]["field"]) == (422, "n")


async def test_plans_are_paged_newest_first(catalogue: Api, clock: FakeClock) -> None:
    for name in "abc":
        clock.advance(timedelta(seconds=1))
        await catalogue.made("/v1/price-plans", growth(id=name))
    clock.advance(timedelta(seconds=1))
    await catalogue.made("/v1/price-plans", growth())
    first = await catalogue.got("/v1/price-plans", limit=3)
    rest = await catalogue.got("/v1/price-plans", limit=3, cursor=first["next_cursor"])
    assert [plan["id"] for plan in first["data"] + rest["data"]] == ["c", "b", "a", "growth"]
    assert [plan["version"] for plan in rest["data"]] == [2]
    assert rest["next_cursor"] is None
