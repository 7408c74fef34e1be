"""Checks over HTTP: so much more of a limit, many features at once, past any cache."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace

import pytest

from abaxus_core.domain.entitlement_documents import Snapshot
from abaxus_core.http.app import build
from abaxus_core.services.entitlements.access import Asked, Entitlements
from abaxus_core.services.entitlements.stored import Stored
from abaxus_core.services.telemetry import Telemetry
from tests.integration.catalogue.conftest import RESOURCES, Api, caller
from tests.integration.catalogue.test_entitlements import (
    call,
    check,
    limit,
    sso,
    subscribed,
    support,
)
from tests.support.servers import served

PATH = "/v1/entitlements/check"


async def checked(api: Api, *features: object, status: int = 200) -> dict:
    got, answer = await api.post(PATH, {"customer_id": "acme", "features": list(features)})
    assert got == status, answer
    return answer


def wanted(feature_key: str, **fields: object) -> dict[str, object]:
    return {"feature_key": feature_key, **fields}


@pytest.mark.parametrize(
    ("quantity", "allowed"), [("0", True), ("69.5", True), ("69.51", False), ("500", False)]
)
async def test_so_much_more_is_allowed_or_not(catalogue: Api, quantity: str, allowed: bool) -> None:
    await subscribed(catalogue, "a", limit(100))
    await catalogue.used(call("1", "30.5", "2026-05-02T00:00:00Z"))
    answer = await catalogue.got(PATH, customer_id="acme", feature_key="calls", quantity=quantity)
    assert (answer["quantity"], answer["allowed"]) == (quantity, allowed)
    assert answer["remaining"] == "69.5"


async def test_what_is_not_counted_allows_any_quantity_if_it_is_granted(catalogue: Api) -> None:
    await subscribed(catalogue, "a", limit(None), sso(False), support("gold"))
    answer = await checked(
        catalogue, *(wanted(key, quantity=7) for key in ("calls", "sso", "support", "nope"))
    )
    allowed = {one["feature_key"]: one["allowed"] for one in answer["entitlements"]}
    assert allowed == {"calls": True, "sso": False, "support": True, "nope": False}


async def test_a_limit_of_nothing_allows_nothing_not_even_none(catalogue: Api) -> None:
    await subscribed(catalogue, "a", limit(0))
    (answer,) = (await checked(catalogue, wanted("calls", quantity=0)))["entitlements"]
    assert (answer["granted"], answer["allowed"]) == (False, False)


async def test_many_features_are_answered_in_the_order_asked_as_one_by_one(
    catalogue: Api,
) -> None:
    await subscribed(catalogue, "a", limit("100.50"), sso(True), support("gold"))
    await catalogue.used(call("1", "30.25", "2026-05-02T00:00:00Z"))
    keys = ("support", "nope", "calls", "sso")
    answer = await checked(catalogue, *map(wanted, keys))
    assert answer["customer_id"] == "acme"
    assert answer["as_of"] == "2026-05-10T12:00:00Z"
    for key, entitlement in zip(keys, answer["entitlements"], strict=True):
        told = {"customer_id": "acme", "as_of": answer["as_of"]}
        assert {**entitlement, **told} == await check(catalogue, key)


async def test_a_hundred_features_are_answered_and_one_more_is_not(catalogue: Api) -> None:
    keys = [f"f{number}" for number in range(101)]
    answer = await checked(catalogue, *map(wanted, keys[:100]))
    assert [one["feature_key"] for one in answer["entitlements"]] == keys[:100]
    refused = await checked(catalogue, *map(wanted, keys), status=422)
    assert refused["error"]["field"] == "features"


@pytest.mark.parametrize(
    ("features", "code", "field"),
    [
        ([], "VALIDATION_FAILED", "features"),
        (None, "VALIDATION_FAILED", "features"),
        (["sso"], "VALIDATION_FAILED", "features[0]"),
        ([wanted("a"), wanted("b"), wanted("a")], "VALIDATION_FAILED", "features[2].feature_key"),
        ([wanted("")], "VALIDATION_FAILED", "features[0].feature_key"),
        ([{}], "VALIDATION_FAILED", "features[0].feature_key"),
        ([wanted("a", more=1)], "UNKNOWN_FIELD", "features[0].more"),
        ([wanted("a"), wanted("b", quantity=-1)], "VALIDATION_FAILED", "features[1].quantity"),
        ([wanted("a", quantity="much")], "VALIDATION_FAILED", "features[0].quantity"),
        ([wanted("a", quantity="0.00000000001")], "VALIDATION_FAILED", "features[0].quantity"),
    ],
)
async def test_features_are_checked(
    catalogue: Api, features: object, code: str, field: str
) -> None:
    body = {"customer_id": "acme", "features": features}
    assert await catalogue.refused(PATH, body) == (422, code, field)


async def test_the_body_is_checked(catalogue: Api) -> None:
    features = [wanted("sso")]
    nobody = {"customer_id": "nope", "features": features}
    assert await catalogue.refused(PATH, nobody) == (404, "CUSTOMER_NOT_FOUND", "customer_id")
    more = {"customer_id": "acme", "features": features, "idempotency_key": "k"}
    assert await catalogue.refused(PATH, more) == (422, "UNKNOWN_FIELD", "idempotency_key")
    for quantity in ("-1", "x", "1e3"):
        query = {"customer_id": "acme", "feature_key": "sso", "quantity": quantity}
        status, answer = await catalogue.get(PATH, **query)
        assert (status, answer["error"]["field"]) == (422, "quantity")


async def test_the_scope_for_checks_suffices_for_many(catalogue: Api) -> None:
    checker = await caller(catalogue.url, catalogue.context, "entitlements")
    assert (await checked(checker, wanted("sso")))["entitlements"][0]["granted"] is False
    await checker.close()


class Remembering:
    """A cache that believes what it read first, and remembers what it was told of."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._first: dict[Asked, Snapshot | Exception | None] = {}
        self.told: list[tuple[set[str], bool]] = []

    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        for one in asked:
            if one not in self._first:
                (self._first[one],) = await self._stored.read([one])
        return [self._first[one] for one in asked]

    async def changed(self, customer_ids: Collection[str], *, waiting: bool) -> None:
        self.told.append((set(customer_ids), waiting))


@pytest.fixture
async def cached(catalogue: Api) -> AsyncIterator[tuple[Api, Remembering]]:
    """The catalogue, with a cache before its entitlements."""
    stored = Stored(
        catalogue.context.database, catalogue.context.clock, catalogue.context.telemetry
    )
    cache = Remembering(stored)
    context = replace(catalogue.context, entitlements=Entitlements(stored, cache=cache))
    app = build(
        {"live": context, "test": context}, context.settings, Telemetry(), resources=RESOURCES
    )
    async with served(app) as up:
        api = await caller(up.url, context, "admin")
        yield api, cache
        await api.close()


@pytest.mark.parametrize(
    ("control", "fresh"),
    [
        ("no-cache", True),
        ("No-Store", True),
        ("private, max-age=0", True),
        ("max-age=60", False),
        ("", False),
    ],
)
async def test_the_caller_may_ask_past_the_cache(
    cached: tuple[Api, Remembering], control: str, fresh: bool
) -> None:
    api, _ = cached
    headers = {"cache-control": control} if control else {}
    body = {"customer_id": "acme", "features": [wanted("sso")]}
    paths = (
        f"{PATH}?customer_id=acme&feature_key=sso",
        "/v1/entitlements?customer_id=acme",
    )
    first = [(await api.ask("GET", path)).json() for path in paths]
    many = (await api.ask("POST", PATH, body)).json()
    await subscribed(api, "a", sso(True))
    again = [(await api.ask("GET", path, headers=headers)).json() for path in paths]
    many_again = (await api.ask("POST", PATH, body, headers=headers)).json()
    assert ([*again, many_again] != [*first, many]) is fresh
    assert (again[0]["granted"], len(again[1]["entitlements"])) == (fresh, int(fresh))
    assert many_again["entitlements"][0]["granted"] is fresh


async def test_the_cache_is_told_of_changes_before_they_are_answered(
    cached: tuple[Api, Remembering],
) -> None:
    api, cache = cached
    await api.made("/v1/customers", {"id": "new"})
    assert cache.told == []
    await subscribed(api, "a", sso(True))
    assert cache.told == [({"acme"}, True)]
    body = {"customer_id": "acme", "plan_id": "a", "start_date": "2026-05-01", "more": 1}
    await api.refused("/v1/subscriptions", body)
    assert len(cache.told) == 1
