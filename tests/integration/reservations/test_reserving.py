"""Reserving: what is granted, what is refused and with what is left."""

from datetime import timedelta
from decimal import Decimal

import pytest

from abaxus_core.domain.reservations import EXPIRES_IN_MAX_S
from abaxus_core.services import upkeep
from tests.support.api import error_of
from tests.support.clock import FakeClock
from tests.support.metering import fetch
from tests.support.shop import PATH, Shop, event


async def test_granted_and_refused(shop: Shop) -> None:
    await shop.grant(1000)
    await shop.books.use(200, "2026-05-02T00:00:00Z", metric_key="tokens")
    granted = await shop.reserve("300.5", idempotency_key="k", expires_in=30)
    reservation_id = granted.pop("id")
    assert reservation_id.startswith("res_")
    assert granted == {
        "granted": True,
        "status": "held",
        "customer_id": "acme",
        "feature_key": "tokens",
        "quantity": "300.5",
        "committed_quantity": None,
        "event_id": None,
        "expires_at": "2026-05-10T12:00:30Z",
        "created_at": "2026-05-10T12:00:00Z",
        "settled_at": None,
        "limit": "1000",
        "current_usage": "200",
        "reserved": "300.5",
        "available": "499.5",
    }
    assert await shop.reserve("499.5000000001") == {
        "id": None,
        "granted": False,
        "customer_id": "acme",
        "feature_key": "tokens",
        "quantity": "499.5000000001",
        "limit": "1000",
        "current_usage": "200",
        "reserved": "300.5",
        "available": "499.5",
    }
    assert (await shop.reserve("499.5"))["available"] == "0"
    assert (await shop.read(reservation_id))["status"] == "held"
    assert (await shop.check())["remaining"] == "800", "checks know nothing of reservations"


async def test_the_same_key_gives_the_same_answer(shop: Shop) -> None:
    await shop.grant(100)
    for quantity, key, status in ((60, "granted", 201), (50, "refused", 200)):
        first = await shop.asked(quantity, idempotency_key=key)
        again = await shop.asked(quantity, idempotency_key=key)
        assert first.status_code == again.status_code == status
        assert first.content == again.content
        assert again.headers["idempotent-replay"] == "true"
    assert await shop.available() == "40"
    other = await shop.asked(61, idempotency_key="granted")
    assert error_of(other) == (422, "IDEMPOTENCY_KEY_REUSED", "idempotency_key")


async def test_time_frees_what_is_held(shop: Shop, clock: FakeClock) -> None:
    await shop.grant(100)
    first = await shop.held(70, expires_in=10)
    await shop.held(30, expires_in=11)
    clock.advance(timedelta(seconds=10))
    assert (await shop.read(first))["status"] == "expired"
    assert await shop.available() == "70"
    read = await shop.read(first)
    assert (read["status"], read["settled_at"]) == ("expired", "2026-05-10T12:00:10Z")


async def test_what_nobody_asks_for_again_is_ended_by_the_job(shop: Shop, clock: FakeClock) -> None:
    await shop.grant(100)
    await shop.grant(100, plan_id="b", feature_key="calls", metric_key="calls")
    for feature_key in ("tokens", "calls", "calls"):
        await shop.held(10, feature_key, expires_in=10)
    await shop.held(1, expires_in=EXPIRES_IN_MAX_S)
    clock.advance(timedelta(seconds=10))
    await upkeep.expire_reservations(shop.context)
    database = shop.context.database
    tallies = "SELECT held FROM reservation_tallies ORDER BY feature_key"
    assert await fetch(database, tallies) == [(Decimal(0),), (Decimal(1),)]
    by_status = "SELECT status, count(*) FROM reservations GROUP BY status ORDER BY status"
    assert await fetch(database, by_status) == [("expired", 3), ("held", 1)]


async def test_what_was_settled_is_forgotten_in_a_week(shop: Shop, clock: FakeClock) -> None:
    await shop.grant(100)
    reservation_id = await shop.held(10)
    await shop.release(reservation_id)
    for waited, code in ((timedelta(days=7), 200), (timedelta(seconds=1), 404)):
        clock.advance(waited)
        await upkeep.prune(shop.context)
        assert (await shop.client.get(f"{PATH}/{reservation_id}")).status_code == code


async def test_limits_add_up_and_unlimited_is_never_refused(shop: Shop) -> None:
    await shop.grant(100)
    await shop.grant("50.5", plan_id="b")
    assert await shop.available() == "150.5"
    await shop.held("150.5")
    await shop.grant(None, plan_id="c")
    granted = await shop.reserve("9" * 20)
    assert (granted["limit"], granted["available"]) == (None, None)
    assert granted["reserved"] == str(int("9" * 20) + 150) + ".5"


async def test_one_metric_over_two_periods_counts_twice(shop: Shop) -> None:
    """So does what is reserved of it: as much as usage will."""
    await shop.grant(100)
    await shop.grant(101, plan_id="b", start="2026-05-05")
    assert await shop.available() == "100.5"
    reservation_id = await shop.held(40)
    assert await shop.available() == "60.5"
    await shop.commit(reservation_id, 40, event=event(40))
    assert (await shop.check())["current_usage"] == "80"
    assert await shop.available() == "60.5"


async def test_two_metrics_of_one_feature_add_up(shop: Shop) -> None:
    await shop.grant(100)
    await shop.grant(10, plan_id="b", metric_key="calls")
    await shop.books.use(7, "2026-05-02T00:00:00Z", metric_key="calls")
    assert await shop.available() == "109"
    first, second = await shop.held(1), await shop.held(50)
    await shop.commit(first, 1, event=event(7, "call", metric_key="calls"))
    await shop.commit(second, 50, event=event(50))
    assert await shop.available() == "58"


async def test_what_nobody_grants_has_no_room(shop: Shop) -> None:
    await shop.grant(0)
    for feature_key in ("tokens", "nothing"):
        answer = await shop.reserve(1, feature_key)
        assert (answer["granted"], answer["limit"], answer["available"]) == (False, "0", "0")
    assert await fetch(shop.context.database, "SELECT FROM reservation_tallies") == []


async def test_usage_beyond_the_limit_leaves_nothing(shop: Shop) -> None:
    await shop.grant(10)
    await shop.books.use(11, "2026-05-02T00:00:00Z", metric_key="tokens")
    assert await shop.available() == "0"
    await shop.books.use(-5, "2026-05-02T00:00:00Z", metric_key="tokens")
    assert await shop.available() == "4"


async def test_features_that_are_no_limit_on_a_sum_or_count(shop: Shop) -> None:
    sso = {"feature_key": "sso", "type": "boolean", "value": True}
    support = {"feature_key": "support", "type": "custom", "value": "gold"}
    await shop.plan("a", sso, support)
    await shop.books.subscribe(plan_id="a", start="2026-05-01")
    await shop.grant(5, plan_id="b", feature_key="peak", metric_key="peak")
    for feature_key in ("sso", "support", "peak"):
        refused = error_of(await shop.asked(1, feature_key))
        assert refused == (422, "VALIDATION_FAILED", "feature_key")
    assert error_of(await shop.asked(1, customer_id="nope")) == (
        404,
        "CUSTOMER_NOT_FOUND",
        "customer_id",
    )


async def test_there_is_no_part_of_an_event(shop: Shop) -> None:
    await shop.grant(10, metric_key="calls")
    assert error_of(await shop.asked("1.5")) == (422, "VALIDATION_FAILED", "quantity")
    await shop.grant(10, plan_id="b")
    await shop.held("1.5")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity", 0),
        ("quantity", -1),
        ("quantity", "0.00000000001"),
        ("quantity", "1" + "0" * 28),
        ("quantity", "many"),
        ("quantity", None),
        ("expires_in", 0),
        ("expires_in", EXPIRES_IN_MAX_S + 1),
        ("expires_in", "30s"),
        ("expires_in", 1.5),
        ("feature_key", ""),
        ("customer_id", "a b"),
        ("idempotency_key", ""),
    ],
)
async def test_bad_input_names_its_field(shop: Shop, field: str, value: object) -> None:
    await shop.grant(100)
    fields = {"quantity": 1, "feature_key": "tokens", field: value}
    refused = error_of(await shop.asked(**fields))
    assert refused == (422, "VALIDATION_FAILED", field)


async def test_a_grant_that_ends_gives_nothing_more(shop: Shop, clock: FakeClock) -> None:
    """What is held stays: it was granted, and may be committed."""
    subscription_id = await shop.grant(100)
    first, second = await shop.held(60, expires_in=3600), await shop.held(10, expires_in=3600)
    path = f"/v1/subscriptions/{subscription_id}/amendments"
    await shop.books.post(path, type="cancel", effective="immediate")
    clock.advance(timedelta(seconds=1))
    assert (await shop.reserve(1))["available"] == "0"
    await shop.commit(first, 60, event=event(60))
    await shop.commit(second, 10)
    assert (await shop.reserve(1))["reserved"] == "0", "there is no period to count it in"


async def test_a_smaller_plan_leaves_what_is_held(shop: Shop, clock: FakeClock) -> None:
    subscription_id = await shop.grant(100)
    first, second = await shop.held(60, expires_in=3600), await shop.held(30, expires_in=3600)
    smaller = {"feature_key": "tokens", "type": "limit", "limit": 50, "metric_key": "tokens"}
    await shop.plan("small", smaller)
    path = f"/v1/subscriptions/{subscription_id}/amendments"
    await shop.books.post(path, type="plan_change", plan_id="small", effective="immediate")
    clock.advance(timedelta(seconds=1))
    assert await shop.available() == "0"
    await shop.release(second)
    assert await shop.available() == "0"
    await shop.commit(first, 45, event=event(45))
    assert await shop.available() == "5"
