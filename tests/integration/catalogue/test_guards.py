"""What holds when requests race, repeat or come from the other mode."""

import asyncio

import pytest

from abaxus_core.domain.subscriptions import Subscription
from abaxus_core.errors import Conflict
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import customers, price_plans, subscriptions
from abaxus_core.repositories.subscriptions import Pricing
from tests.integration.catalogue.conftest import Api, growth
from tests.support.clock import FakeClock
from tests.support.metering import fetch
from tests.support.waiting import eventually

START = {"customer_id": "acme", "plan_id": "growth", "start_date": "2026-05-01"}


async def price_again(database: Database, clock: FakeClock) -> None:
    """A second subscription that prices `calls`, past the service and its check."""

    async def step(conn: Connection) -> None:
        customer = await customers.get(conn, "acme")
        assert customer is not None
        second = Subscription(
            id="sub_second",
            customer_no=customer.customer_no,
            customer_id="acme",
            plan_id="growth",
            plan_version=1,
            start_at=clock.now,
            created_at=clock.now,
        )
        await subscriptions.insert(conn, second)
        pricing = Pricing(metric_keys=frozenset({"calls"}), start_at=clock.now, end_at=None)
        await subscriptions.price_metrics(conn, second, [pricing])

    await database.transaction(step)


async def test_the_constraint_alone_keeps_a_metric_from_two_prices(
    catalogue: Api, clock: FakeClock
) -> None:
    await catalogue.made("/v1/subscriptions", START)
    with pytest.raises(Conflict) as refused:
        await price_again(catalogue.context.database, clock)
    assert refused.value.code == "METRIC_ALREADY_PRICED"


async def test_without_the_constraint_two_prices_would_stand(
    catalogue: Api, clock: FakeClock
) -> None:
    """The negative control of the test above."""
    await catalogue.made("/v1/subscriptions", START)
    database = catalogue.context.database
    await fetch(database, "ALTER TABLE subscription_metrics DROP CONSTRAINT metric_priced_once")
    await price_again(database, clock)
    assert await fetch(database, "SELECT count(*) FROM subscription_metrics") == [(2,)]


async def test_a_currency_is_fixed_once(catalogue: Api) -> None:
    async def step(conn: Connection) -> list[bool]:
        customer = await customers.get(conn, "acme")
        assert customer is not None
        return [
            await customers.fix_currency(conn, customer.customer_no, currency)
            for currency in ("usd", "eur", "usd")
        ]

    assert await catalogue.context.database.transaction(step) == [True, False, True]


async def test_a_deprecation_waits_for_whoever_subscribes(catalogue: Api) -> None:
    database = catalogue.context.database
    held, let_go = asyncio.Event(), asyncio.Event()

    async def subscribing(conn: Connection) -> None:
        await price_plans.hold_version(conn, "growth", 1)
        held.set()
        await let_go.wait()

    async def somebody_waits() -> bool:
        return bool(await fetch(database, "SELECT FROM pg_locks WHERE NOT granted"))

    subscriber = asyncio.create_task(database.transaction(subscribing))
    await held.wait()
    deprecation = asyncio.create_task(catalogue.post("/v1/price-plans/growth/versions/1/deprecate"))
    await eventually(somebody_waits)
    assert not deprecation.done()
    let_go.set()
    await subscriber
    status, plan = await deprecation
    assert (status, plan["status"]) == (200, "deprecated")


async def test_a_repeated_post_makes_no_second_version(catalogue: Api) -> None:
    body = growth(idempotency_key="once")
    first = await catalogue.post_raw("/v1/price-plans", body)
    again = await catalogue.post_raw("/v1/price-plans", body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["idempotent-replay"] == "true"
    assert (await catalogue.got("/v1/price-plans/growth"))["version"] == 2
    other = growth(name="Other", idempotency_key="once")
    assert (await catalogue.refused("/v1/price-plans", other))[:2] == (
        422,
        "IDEMPOTENCY_KEY_REUSED",
    )


async def test_test_mode_sees_nothing_of_live_mode(catalogue: Api, test_mode: Api) -> None:
    subscription = await catalogue.made("/v1/subscriptions", START)
    for path in ("/v1/metrics", "/v1/price-plans", "/v1/customers", "/v1/subscriptions"):
        assert (await test_mode.got(path))["data"] == []
    for path in (
        "/v1/metrics/calls",
        "/v1/price-plans/growth",
        "/v1/customers/acme",
        f"/v1/subscriptions/{subscription['id']}",
    ):
        assert (await test_mode.get(path))[0] == 404
    await test_mode.made("/v1/metrics", {"key": "calls", "aggregation": "max"})
    assert (await catalogue.got("/v1/metrics/calls"))["aggregation"] == "sum"


async def test_every_change_is_audited_by_who_made_it(catalogue: Api) -> None:
    await catalogue.made("/v1/subscriptions", START)
    await catalogue.post("/v1/price-plans/growth/versions/1/deprecate")
    rows = await fetch(
        catalogue.context.database,
        "SELECT action, object_id, left(actor, 4) FROM audit_log WHERE actor <> 'system'"
        " ORDER BY audit_no",
    )
    subscribed = rows.pop(4)
    assert (subscribed[0], subscribed[2]) == ("subscription.created", "key_")
    assert rows == [
        ("metric.created", "calls", "key_"),
        ("metric.created", "users", "key_"),
        ("price_plan.version_created", "growth", "key_"),
        ("customer.created", "acme", "key_"),
        ("price_plan.version_deprecated", "growth", "key_"),
    ]
