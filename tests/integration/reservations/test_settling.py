"""Committing and releasing: what becomes usage, what is free again, what is refused."""

from datetime import timedelta

import pytest

from tests.support.api import bearer, error_of, new_key
from tests.support.clock import FakeClock
from tests.support.metering import fetch, land_all
from tests.support.shop import PATH, Shop, event


async def refused(
    shop: Shop, reservation_id: str, quantity: object, **fields: object
) -> tuple[int, str, str | None]:
    return await shop.books.refused(f"{PATH}/{reservation_id}/commit", quantity=quantity, **fields)


async def test_a_commit_with_its_event_is_usage_at_once(shop: Shop) -> None:
    await shop.grant(100)
    reservation_id = await shop.held(60)
    committed = await shop.commit(reservation_id, 45, event=event(45))
    assert committed["status"] == "committed"
    assert committed["committed_quantity"] == "45"
    assert committed["settled_at"] == "2026-05-10T12:00:00Z"
    assert (await shop.check())["current_usage"] == "45"
    assert await shop.available() == "55"
    listed = await shop.books.get("/v1/events", customer_id="acme")
    assert [each["event_id"] for each in listed["data"]] == [committed["event_id"]]
    summary = await shop.books.get("/v1/usage/summary", customer_id="acme")
    assert summary["usage"][0]["value"] == "45"


async def test_a_commit_without_an_event_counts_until_the_period_ends(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.grant(100)
    for quantity in (10, 5):
        await shop.commit(await shop.held(20), quantity)
    answer = await shop.reserve(86)
    assert (answer["current_usage"], answer["reserved"], answer["available"]) == ("0", "15", "85")
    assert (await shop.check())["remaining"] == "100"
    clock.advance(timedelta(days=22))
    assert await shop.available() == "100"
    await shop.commit(await shop.held(1), 1)
    assert await shop.available() == "99"


async def test_the_same_commit_again_changes_nothing(shop: Shop) -> None:
    await shop.grant(100)
    with_event, without = await shop.held(60), await shop.held(10)
    for _ in range(2):
        await shop.commit(with_event, 45, event=event(45))
        await shop.commit(without, 10)
    assert await shop.available() == "45"
    for reservation_id, quantity, fields in (
        (with_event, 44, {"event": event(44)}),
        (with_event, 45, {}),
        (with_event, 45, {"event": event(45, "other")}),
        (without, 9, {}),
    ):
        assert await refused(shop, reservation_id, quantity, **fields) == (
            409,
            "INVALID_STATE",
            None,
        )


async def test_a_repeated_commit_is_answered_after_its_time(shop: Shop, clock: FakeClock) -> None:
    """Who could not hear the answer may still ask for it."""
    await shop.grant(100)
    reservation_id = await shop.held(60)
    first = await shop.commit(reservation_id, 45, event=event(45))
    clock.advance(timedelta(hours=1))
    assert await shop.commit(reservation_id, 45, event=event(45)) == first


async def test_what_has_ended_is_not_committed(shop: Shop, clock: FakeClock) -> None:
    await shop.grant(100)
    expired, released = await shop.held(10), await shop.held(10, expires_in=3600)
    await shop.release(released)
    assert (await refused(shop, released, 10))[:2] == (409, "INVALID_STATE")
    clock.advance(timedelta(seconds=60))
    for _ in range(2):
        assert (await refused(shop, expired, 10))[:2] == (409, "RESERVATION_EXPIRED")
        await shop.available()
    assert (await refused(shop, "res_none", 10))[:2] == (404, "RESERVATION_NOT_FOUND")


async def test_releasing(shop: Shop, clock: FakeClock) -> None:
    await shop.grant(100)
    first, second, committed = [await shop.held(10) for _ in range(3)]
    await shop.commit(committed, 10, event=event(10))
    for _ in range(2):
        assert (await shop.release(first))["status"] == "released"
    assert await shop.available() == "80"
    clock.advance(timedelta(seconds=60))
    assert (await shop.release(second))["status"] == "expired"
    assert await shop.books.refused(f"{PATH}/{committed}/release") == (409, "INVALID_STATE", None)
    assert (await shop.books.refused(f"{PATH}/res_none/release"))[:2] == (
        404,
        "RESERVATION_NOT_FOUND",
    )


@pytest.mark.parametrize(
    ("quantity", "fields", "field"),
    [
        (0, {}, "quantity"),
        (-1, {}, "quantity"),
        ("0.00000000001", {}, "quantity"),
        (11, {}, "quantity"),
        (10, {"value": 9}, "quantity"),
        (10, {"customer_id": "beta"}, "event.customer_id"),
        (10, {"customer_id": "nobody"}, "event.customer_id"),
        (10, {"metric_key": "seats"}, "event.metric_key"),
        (10, {"metric_key": "nothing"}, "event.metric_key"),
        (10, {"timestamp": "2026-04-30T23:59:59.999999Z"}, "event.timestamp"),
        (10, {"timestamp": "2026-05-10T12:00:00"}, "event.timestamp"),
        (10, {"timestamp": "2026-05-12T00:00:00Z"}, "event.timestamp"),
        (10, {"subscription_id": "sub_none"}, "event.subscription_id"),
        (10, {"idempotency_key": ""}, "event.idempotency_key"),
        (10, {"value": "ten"}, "event.value"),
        (10, {"more": 1}, "event.more"),
    ],
)
async def test_a_commit_that_does_not_fit_changes_nothing(
    shop: Shop, quantity: object, fields: dict[str, object], field: str
) -> None:
    await shop.grant(100)
    await shop.books.customer("beta")
    reservation_id = await shop.held(10)
    sent = {"event": event(quantity) | fields} if fields else {}
    status, _, named = await refused(shop, reservation_id, quantity, **sent)
    assert status in (404, 422)
    assert named == field
    assert (await shop.read(reservation_id))["status"] == "held"
    assert await fetch(shop.context.database, "SELECT FROM events") == []
    assert await shop.available() == "90"


async def test_a_metric_that_counts_events_is_committed_one_by_one(shop: Shop) -> None:
    await shop.grant(3, metric_key="calls")
    first, second = await shop.held(1), await shop.held(2)
    await shop.commit(first, 1, event=event(99, metric_key="calls"))
    answer = await refused(shop, second, 2, event=event(2, "e2", metric_key="calls"))
    assert answer == (422, "VALIDATION_FAILED", "quantity")
    assert (await shop.check())["current_usage"] == "1"


async def test_a_metric_that_was_deactivated(shop: Shop) -> None:
    await shop.grant(100)
    first, second = await shop.held(10), await shop.held(10)
    await shop.commit(first, 10, event=event(10))
    await shop.books.post("/v1/metrics/tokens/deactivate", 200)
    assert await refused(shop, second, 10, event=event(10, "e2")) == (
        409,
        "METRIC_INACTIVE",
        "event.metric_key",
    )
    assert (await shop.commit(first, 10, event=event(10)))["status"] == "committed"


async def test_an_event_that_is_known_is_counted_once(shop: Shop) -> None:
    """Landed already, or on its way: the commit frees what is held, the usage is there once."""
    await shop.grant(100)
    await shop.books.post("/v1/events", 202, **event(10, "landed"))
    await land_all(shop.context)
    await shop.books.post("/v1/events", 202, **event(20, "queued"))
    first, second = await shop.held(10), await shop.held(20)
    await shop.commit(first, 10, event=event(10, "landed"))
    await shop.commit(second, 20, event=event(20, "queued"))
    await land_all(shop.context)
    assert (await shop.check())["current_usage"] == "30"
    assert await shop.available() == "70"


async def test_a_key_with_another_payload_is_refused(shop: Shop) -> None:
    await shop.grant(100)
    await shop.books.post("/v1/events", 202, **event(11))
    await land_all(shop.context)
    reservation_id = await shop.held(10)
    for _ in range(2):
        assert await refused(shop, reservation_id, 10, event=event(10)) == (
            422,
            "IDEMPOTENCY_KEY_REUSED",
            "event.idempotency_key",
        )
    assert (await shop.read(reservation_id))["status"] == "held"
    assert await fetch(shop.context.database, "SELECT FROM event_conflicts") == []


async def test_an_event_commits_one_reservation(shop: Shop) -> None:
    await shop.grant(100)
    first, second = await shop.held(10), await shop.held(10)
    await shop.commit(first, 10, event=event(10))
    assert await refused(shop, second, 10, event=event(10)) == (
        422,
        "IDEMPOTENCY_KEY_REUSED",
        "event.idempotency_key",
    )


async def test_a_reservation_that_outlives_its_period(shop: Shop, clock: FakeClock) -> None:
    """It takes room of the next one, too, and its event may be of either."""
    await shop.grant(100)
    clock.advance(timedelta(days=21, hours=11, minutes=59))
    first, second = await shop.held(60, expires_in=3600), await shop.held(30, expires_in=3600)
    ahead = event(60, timestamp="2026-06-01T00:00:00Z")
    assert (await refused(shop, first, 60, event=ahead))[2] == "event.timestamp"
    clock.advance(timedelta(minutes=2))
    assert await shop.available() == "10"
    await shop.commit(first, 60, event=event(60, timestamp="2026-05-31T23:59:30Z"))
    assert await shop.available() == "70"
    await shop.commit(second, 30, event=event(30, "e2", timestamp="2026-06-01T00:00:00Z"))
    assert await shop.available() == "70"
    assert (await shop.check())["current_usage"] == "30"


async def test_a_clock_that_is_behind_does_not_bring_a_period_back(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.grant(100)
    clock.advance(timedelta(days=22))
    reservation_id = await shop.held(100)
    await shop.commit(reservation_id, 100, event=event(100, timestamp="2026-06-01T00:00:01Z"))
    clock.advance(timedelta(days=-2))
    assert await shop.available() == "0"


async def test_a_clock_that_is_behind_does_not_commit_what_was_given_away(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.grant(100)
    reservation_id = await shop.held(100)
    clock.advance(timedelta(seconds=60))
    other = await shop.held(100)
    clock.advance(timedelta(seconds=-60))
    assert (await refused(shop, reservation_id, 100))[:2] == (409, "RESERVATION_EXPIRED")
    await shop.commit(other, 100, event=event(100))


async def test_what_is_dated_from_its_beginning_on_is_in_its_period(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.grant(100)
    clock.advance(timedelta(days=21, hours=12))
    reservation_id = await shop.held(10)
    for timestamp, status in (("2026-05-31T23:59:59.999Z", 422), ("2026-06-01T00:00:00Z", 200)):
        sent = event(10, timestamp=timestamp)
        await shop.commit(reservation_id, 10, event=sent, status=status)


async def test_a_month_whose_partition_is_gone(shop: Shop) -> None:
    await shop.grant(100)
    await shop.commit(await shop.held(10), 10, event=event(10))
    await fetch(shop.context.database, "ALTER TABLE events DETACH PARTITION events_2026_05")
    await shop.commit(await shop.held(20), 20, event=event(20, "e2"))
    assert (await shop.check())["current_usage"] == "30"


async def test_scopes(shop: Shop) -> None:
    await shop.grant(100)
    reservation_id = await shop.held(10)
    path = f"{PATH}/{reservation_id}"
    new = {"customer_id": "acme", "feature_key": "tokens", "quantity": 1}
    allowed = {
        ("entitlements",): (201, 200, 403, 200),
        ("read",): (403, 200, 403, 403),
        ("ingest",): (403, 403, 403, 403),
        ("entitlements", "ingest"): (201, 200, 200, 409),
    }
    for scopes, statuses in allowed.items():
        headers = bearer(await new_key(shop.context, *scopes))
        told = [
            await shop.client.post(PATH, json=new, headers=headers),
            await shop.client.get(path, headers=headers),
            await shop.client.post(
                f"{path}/commit", json={"quantity": 10, "event": event(10)}, headers=headers
            ),
        ]
        if scopes == ("entitlements",):
            spare = f"{PATH}/{await shop.held(1)}/release"
        else:
            spare = f"{path}/release"
        told.append(await shop.client.post(spare, headers=headers))
        assert tuple(each.status_code for each in told) == statuses, scopes
        for each in told:
            if each.status_code == 403:
                assert error_of(each) == (403, "FORBIDDEN_SCOPE", None)


async def test_reserving_is_no_scope_of_its_own(shop: Shop) -> None:
    refused = await shop.books.refused("/v1/api-keys", name="n", scopes=["reserving"])
    assert refused[:2] == (422, "VALIDATION_FAILED")


async def test_nothing_of_it_is_audited(shop: Shop) -> None:
    """A reservation is usage on its way, and usage is not audited."""
    await shop.grant(100)
    before = await fetch(shop.context.database, "SELECT count(*) FROM audit_log")
    await shop.commit(await shop.held(10), 10, event=event(10))
    await shop.release(await shop.held(10))
    assert await fetch(shop.context.database, "SELECT count(*) FROM audit_log") == before
