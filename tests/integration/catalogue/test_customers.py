"""Customers: the caller's ids, changes field by field, no card numbers."""

from datetime import timedelta

from tests.integration.catalogue.conftest import Api
from tests.support.clock import FakeClock
from tests.support.metering import fetch

FULL = {
    "id": "acme",
    "name": "Acme",
    "email": "billing@acme.example",
    "billing": {"provider": "sandbox"},
    "payment_method": {"provider_customer_id": "cus_1", "provider_payment_method": "pm_ok"},
    "metadata": {"tier": "gold", "seats": 5, "beta": True},
}


async def test_a_customer_is_answered_in_full(api: Api) -> None:
    made = await api.made("/v1/customers", FULL)
    assert made == {**FULL, "currency": None, "created_at": "2026-05-10T12:00:00Z"}
    assert await api.got("/v1/customers/acme") == made


async def test_an_id_is_all_that_is_needed(api: Api) -> None:
    made = await api.made("/v1/customers", {"id": "a:b.c-d_1"})
    assert made["billing"] == {"provider": None}
    assert made["payment_method"] is None
    assert made["metadata"] == {}


async def test_an_id_is_taken_once(api: Api) -> None:
    await api.made("/v1/customers", FULL)
    assert await api.refused("/v1/customers", FULL) == (409, "CUSTOMER_ID_DUPLICATE", "id")


async def test_what_is_absent_stays_and_null_clears(api: Api) -> None:
    await api.made("/v1/customers", FULL)
    steps = (
        ({}, FULL),
        ({"name": "Acme Inc"}, {**FULL, "name": "Acme Inc"}),
        ({"name": None, "email": None}, {**FULL, "name": None, "email": None}),
        ({"billing": {"provider": None}}, {"billing": {"provider": None}}),
        ({"payment_method": None}, {"payment_method": None}),
        ({"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
        ({"metadata": None}, {"metadata": {}}),
    )
    for change, expected in steps:
        status, answer = await api.patch("/v1/customers/acme", change)
        assert status == 200, answer
        assert answer == {**answer, **expected}
        assert await api.got("/v1/customers/acme") == answer


async def test_the_audit_log_names_what_changed_not_to_what(api: Api) -> None:
    await api.made("/v1/customers", FULL)
    await api.patch("/v1/customers/acme", {"email": "other@acme.example", "name": "Acme"})
    rows = await fetch(
        api.context.database,
        "SELECT action, data::text FROM audit_log WHERE object_type = 'customer' ORDER BY audit_no",
    )
    assert rows == [
        ("customer.created", "{}"),
        ("customer.updated", '{"fields": ["email"]}'),
    ]


async def test_the_id_never_changes(api: Api) -> None:
    await api.made("/v1/customers", FULL)
    for field in ("id", "currency", "created_at"):
        status, answer = await api.patch("/v1/customers/acme", {field: "x"})
        assert (status, answer["error"]["code"]) == (422, "UNKNOWN_FIELD")
        assert answer["error"]["field"] == field


async def test_what_is_not_there_is_a_404(api: Api) -> None:
    for status, answer in (
        await api.get("/v1/customers/nope"),
        await api.patch("/v1/customers/nope", {"name": "x"}),
    ):
        assert (status, answer["error"]["code"]) == (404, "CUSTOMER_NOT_FOUND")


async def test_customers_are_paged_newest_first(api: Api, clock: FakeClock) -> None:
    for name in "abc":
        await api.made("/v1/customers", {"id": name})
        clock.advance(timedelta(seconds=1))
    first = await api.got("/v1/customers", limit=2)
    rest = await api.got("/v1/customers", limit=2, cursor=first["next_cursor"])
    assert [one["id"] for one in first["data"] + rest["data"]] == ["c", "b", "a"]
