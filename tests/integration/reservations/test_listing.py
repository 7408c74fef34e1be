"""What is held of a customer now, listed."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.api import error_of
from tests.support.clock import FakeClock
from tests.support.shop import PATH, Shop


async def listed(shop: Shop, **query: object) -> list[str]:
    """The ids on all pages, which are as long as asked."""
    found: list[str] = []
    while True:
        page = await shop.books.get(PATH, customer_id="acme", **query)
        assert len(page["data"]) <= int(str(query.get("limit", 50)))
        found += [one["id"] for one in page["data"]]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


async def test_what_is_held_is_listed_by_feature_and_end(shop: Shop) -> None:
    await shop.grant(1000)
    await shop.grant(1000, plan_id="b", metric_key="calls", feature_key="calls")
    late = await shop.held(1, expires_in=600)
    early = [await shop.held(1, expires_in=60) for _ in range(2)]
    calls = await shop.held(1, "calls", expires_in=900)
    expected = [calls, *sorted(early), late]
    assert await listed(shop) == await listed(shop, limit=1) == expected
    assert await listed(shop, feature_key="tokens", limit=2) == expected[1:]
    (first,) = (await shop.books.get(PATH, customer_id="acme", feature_key="calls"))["data"]
    assert first == await shop.read(calls)


async def test_what_has_ended_is_not_listed(shop: Shop, clock: FakeClock) -> None:
    await shop.grant(1000)
    short, committed, released, held = [await shop.held(1, expires_in=9 + n) for n in range(4)]
    await shop.commit(committed, 1)
    await shop.release(released)
    assert await listed(shop) == [short, held]
    clock.set(clock() + timedelta(seconds=9))
    assert await listed(shop) == [held]


async def test_nothing_is_held_of_who_never_reserved(shop: Shop) -> None:
    await shop.grant(1000)
    assert await listed(shop) == []


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ({}, 422, "VALIDATION_FAILED", "customer_id"),
        ({"customer_id": "nobody"}, 404, "CUSTOMER_NOT_FOUND", "customer_id"),
        ({"customer_id": "acme", "limit": 0}, 422, "VALIDATION_FAILED", "limit"),
        ({"customer_id": "acme", "cursor": "WzFd"}, 422, "VALIDATION_FAILED", "cursor"),
        ({"customer_id": "acme", "status": "held"}, 422, "UNKNOWN_FIELD", "status"),
    ],
)
async def test_what_cannot_be_asked(
    shop: Shop, query: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    response = await shop.client.get(PATH, params=query)
    assert error_of(response) == (status, code, field)
