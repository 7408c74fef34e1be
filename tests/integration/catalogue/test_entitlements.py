"""Entitlements: grants of several subscriptions, usage of the current billing period."""

from datetime import timedelta

from tests.integration.catalogue.conftest import Api, caller, growth
from tests.support.clock import FakeClock

FEE = [{"pricing_model": "flat_fee", "amount": 1}]


def limit(number: object, metric_key: str = "calls") -> dict[str, object]:
    return {"feature_key": "calls", "type": "limit", "limit": number, "metric_key": metric_key}


def sso(value: bool) -> dict[str, object]:
    return {"feature_key": "sso", "type": "boolean", "value": value}


def support(value: str) -> dict[str, object]:
    return {"feature_key": "support", "type": "custom", "value": value}


async def subscribed(api: Api, plan_id: str, *grants: dict[str, object], **dates: str) -> None:
    """A plan that grants this, and a subscription of acme to it."""
    await api.made("/v1/price-plans", growth(id=plan_id, charges=FEE, entitlements=list(grants)))
    body = {"customer_id": "acme", "plan_id": plan_id, "start_date": "2026-05-01", **dates}
    await api.made("/v1/subscriptions", body)


async def check(api: Api, feature_key: str) -> dict:
    return await api.got("/v1/entitlements/check", customer_id="acme", feature_key=feature_key)


def call(key: str, value: object, timestamp: str, **fields: object) -> dict[str, object]:
    return {
        "customer_id": "acme",
        "metric_key": "calls",
        "value": value,
        "timestamp": timestamp,
        "idempotency_key": key,
        **fields,
    }


async def test_all_three_types_are_answered(catalogue: Api) -> None:
    await subscribed(catalogue, "a", limit("100.50"), sso(True), support("gold"))
    await catalogue.used(call("1", "30.25", "2026-05-02T00:00:00Z"))
    answer = await catalogue.got("/v1/entitlements", customer_id="acme")
    source = {"source_plans": ["a"], "source_plan": "a"}
    assert answer == {
        "customer_id": "acme",
        "resolved_at": "2026-05-10T12:00:00Z",
        "entitlements": [
            {
                "feature_key": "calls",
                "type": "limit",
                "granted": True,
                "metric_key": "calls",
                "limit": "100.5",
                "current_usage": "30.25",
                "remaining": "70.25",
                "exceeded": False,
                **source,
            },
            {"feature_key": "sso", "type": "boolean", "granted": True, **source},
            {
                "feature_key": "support",
                "type": "custom",
                "granted": True,
                "value": "gold",
                **source,
            },
        ],
    }
    for entitlement in answer["entitlements"]:
        assert await check(catalogue, entitlement["feature_key"]) == {
            **entitlement,
            "customer_id": "acme",
            "as_of": "2026-05-10T12:00:00Z",
        }


async def test_several_subscriptions_combine(catalogue: Api) -> None:
    await subscribed(catalogue, "a", limit(100), sso(False), support("silver"))
    later = {"start_date": "2026-05-05"}
    await subscribed(catalogue, "b", limit(50), sso(True), support("gold"), **later)
    both = await check(catalogue, "calls")
    assert (both["limit"], both["source_plans"]) == ("150", ["a", "b"])
    assert "source_plan" not in both
    assert (await check(catalogue, "sso"))["source_plans"] == ["b"]
    assert (await check(catalogue, "support"))["value"] == "gold"
    await subscribed(catalogue, "c", limit(None))
    unlimited = await check(catalogue, "calls")
    assert (unlimited["limit"], unlimited["remaining"]) == (None, None)
    assert (unlimited["granted"], unlimited["exceeded"]) == (True, False)


async def test_usage_of_one_period_counts_once(catalogue: Api) -> None:
    await subscribed(catalogue, "a", limit(100))
    await subscribed(catalogue, "b", limit(50))
    await catalogue.used(call("1", 40, "2026-05-09T00:00:00Z"))
    assert (await check(catalogue, "calls"))["current_usage"] == "40"


async def test_exceeded_is_reported_not_refused(catalogue: Api) -> None:
    await subscribed(catalogue, "a", limit(10))
    for value, remaining, exceeded in ((10, "0", False), (1, "0", True)):
        await catalogue.used(call(f"k{value}", value, "2026-05-09T00:00:00Z"))
        answer = await check(catalogue, "calls")
        assert (answer["remaining"], answer["exceeded"]) == (remaining, exceeded)
        assert answer["granted"]


async def test_only_the_current_period_counts(catalogue: Api, clock: FakeClock) -> None:
    """A period that starts at noon: its first and last days are read from raw events."""
    await subscribed(catalogue, "a", limit(100), start_date="2026-04-05T12:00:00Z")
    await catalogue.used(
        call("before", 1, "2026-05-05T11:59:59Z"),
        call("edge", 2, "2026-05-05T12:00:00Z"),
        call("whole", 4, "2026-05-07T00:00:00Z"),
        call("now", 8, "2026-05-10T11:00:00Z"),
    )
    assert (await check(catalogue, "calls"))["current_usage"] == "14"
    clock.advance(timedelta(days=30))
    assert (await check(catalogue, "calls"))["current_usage"] == "0"


async def test_what_is_not_additive_is_counted_from_raw_events(catalogue: Api) -> None:
    await subscribed(catalogue, "a", limit(5, "users"))
    await catalogue.used(
        *(
            call(str(n), 1, "2026-05-02T00:00:00Z", metric_key="users", properties={"user": user})
            for n, user in enumerate(("ann", "bob", "ann"))
        )
    )
    assert (await check(catalogue, "calls"))["current_usage"] == "2"


async def test_grants_follow_time(catalogue: Api, clock: FakeClock) -> None:
    dates = {"start_date": "2026-05-11", "end_date": "2026-05-12"}
    await subscribed(catalogue, "a", sso(True), **dates)
    granted = []
    for _ in range(3):
        granted.append((await check(catalogue, "sso"))["granted"])
        clock.advance(timedelta(days=1))
    assert granted == [False, True, False]


async def test_what_nobody_grants_is_not_granted(catalogue: Api) -> None:
    assert await check(catalogue, "nope") == {
        "customer_id": "acme",
        "feature_key": "nope",
        "type": None,
        "granted": False,
        "source_plans": [],
        "as_of": "2026-05-10T12:00:00Z",
    }
    answer = await catalogue.got("/v1/entitlements", customer_id="acme")
    assert answer["entitlements"] == []


async def test_an_unknown_customer_is_a_404(catalogue: Api) -> None:
    for path, query in (
        ("/v1/entitlements", {}),
        ("/v1/entitlements/check", {"feature_key": "sso"}),
    ):
        status, answer = await catalogue.get(path, customer_id="nope", **query)
        assert (status, answer["error"]["code"]) == (404, "CUSTOMER_NOT_FOUND")


async def test_the_query_is_checked(catalogue: Api) -> None:
    for query, field in (
        ({}, "customer_id"),
        ({"customer_id": "acme"}, "feature_key"),
        ({"customer_id": "a b", "feature_key": "x"}, "customer_id"),
        ({"customer_id": "acme", "feature_key": ""}, "feature_key"),
        ({"customer_id": "acme", "feature_key": "x", "more": "1"}, "more"),
    ):
        status, answer = await catalogue.get("/v1/entitlements/check", **query)
        assert (status, answer["error"]["field"]) == (422, field)


async def test_the_scope_for_checks_suffices_and_reaches_no_further(catalogue: Api) -> None:
    checker = await caller(catalogue.url, catalogue.context, "entitlements")
    assert (await check(checker, "sso"))["granted"] is False
    for path in ("/v1/metrics", "/v1/customers/acme", "/v1/subscriptions"):
        status, answer = await checker.get(path)
        assert (status, answer["error"]["code"]) == (403, "FORBIDDEN_SCOPE")
    await checker.close()
