"""What does not validate: a clear code and the path of the field, and nothing is stored."""

import pytest

from abaxus_core.http.paging import encode_cursor
from tests.integration.catalogue.conftest import Api, growth

VALIDATION = "VALIDATION_FAILED"
UNKNOWN = "UNKNOWN_FIELD"

METRIC = {"key": "m", "aggregation": "sum"}
BAD_METRICS = (
    (b'{"key": "m"', 400, "MALFORMED_JSON", None),
    (b"[]", 422, VALIDATION, None),
    (b'{"key": "a", "key": "b", "aggregation": "sum"}', 422, VALIDATION, "key"),
    (b'{"key": "\\ud800", "aggregation": "sum"}', 422, VALIDATION, "key"),
    (
        b'{"key": "m", "aggregation": "percentile", "percentile": NaN}',
        422,
        VALIDATION,
        "percentile",
    ),
    ({"aggregation": "sum"}, 422, VALIDATION, "key"),
    ({"key": "m"}, 422, VALIDATION, "aggregation"),
    ({**METRIC, "key": ""}, 422, VALIDATION, "key"),
    ({**METRIC, "key": "a b"}, 422, VALIDATION, "key"),
    ({**METRIC, "key": "a\n"}, 422, VALIDATION, "key"),
    ({**METRIC, "key": "x" * 129}, 422, VALIDATION, "key"),
    ({**METRIC, "key": 1}, 422, VALIDATION, "key"),
    ({**METRIC, "aggregation": "median"}, 422, VALIDATION, "aggregation"),
    ({**METRIC, "name": "a\0b"}, 422, VALIDATION, "name"),
    ({**METRIC, "name": ""}, 422, VALIDATION, "name"),
    ({**METRIC, "name": "x" * 256}, 422, VALIDATION, "name"),
    ({**METRIC, "value_type": "float"}, 422, VALIDATION, "value_type"),
    ({**METRIC, "property": "user"}, 422, VALIDATION, "property"),
    ({**METRIC, "percentile": 95}, 422, VALIDATION, "percentile"),
    ({**METRIC, "aggregation": "unique_count"}, 422, VALIDATION, "property"),
    ({**METRIC, "aggregation": "percentile"}, 422, VALIDATION, "percentile"),
    ({**METRIC, "aggregation": "percentile", "percentile": 100}, 422, VALIDATION, "percentile"),
    (
        {**METRIC, "aggregation": "percentile", "percentile": "50.12345678901"},
        422,
        VALIDATION,
        "percentile",
    ),
    ({**METRIC, "unit": "ms"}, 422, UNKNOWN, "unit"),
    ({**METRIC, "idempotency_key": "x" * 256}, 422, VALIDATION, "idempotency_key"),
)

UNIT = {"pricing_model": "per_unit", "metric_key": "calls", "unit_price": 1}


def charged(*charges: object) -> dict[str, object]:
    return growth(id="bad", charges=list(charges))


def tiered(*tiers: object) -> dict[str, object]:
    return charged({"pricing_model": "tiered", "metric_key": "calls", "tiers": list(tiers)})


def up(up_to: object, **fields: object) -> dict[str, object]:
    return {"up_to": up_to, "unit_price": 1, **fields}


def granting(*entitlements: object) -> dict[str, object]:
    return growth(id="bad", entitlements=list(entitlements))


PACKAGE = {"pricing_model": "package", "metric_key": "calls"}
LIMIT = {"feature_key": "f", "type": "limit", "limit": 1, "metric_key": "calls"}
BAD_PLANS = (
    (growth(id="a b"), VALIDATION, "id"),
    (growth(id="x" * 129), VALIDATION, "id"),
    (growth(currency="usx"), VALIDATION, "currency"),
    (growth(currency="ﬀ"), VALIDATION, "currency"),
    (growth(currency="xau"), VALIDATION, "currency"),
    (growth(billing_period="fortnightly"), VALIDATION, "billing_period"),
    (growth(billing_period={"interval": "month", "count": 0}), VALIDATION, "billing_period.count"),
    (growth(billing_period={"interval": "hour"}), VALIDATION, "billing_period.interval"),
    (growth(billing_period={"interval": "day", "n": 1}), UNKNOWN, "billing_period.n"),
    (growth(effective_from="2026-05-01T00:00:00"), VALIDATION, "effective_from"),
    (growth(effective_from="0001-01-01T00:00:00Z"), VALIDATION, "effective_from"),
    (growth(status="active"), UNKNOWN, "status"),
    (growth(display_name="Other"), VALIDATION, "name"),
    (charged(), VALIDATION, "charges"),
    (charged(*[UNIT] * 101), VALIDATION, "charges"),
    (charged("free"), VALIDATION, "charges[0]"),
    (charged({"metric_key": "calls"}), VALIDATION, "charges[0].pricing_model"),
    (charged({**UNIT, "pricing_model": "free"}), VALIDATION, "charges[0].pricing_model"),
    (charged({**UNIT, "tiers": []}), UNKNOWN, "charges[0].tiers"),
    (charged({**UNIT, "model": "tiered"}), VALIDATION, "charges[0].pricing_model"),
    (charged({**UNIT, "unit_amount": 2}), VALIDATION, "charges[0].unit_price"),
    (charged({**UNIT, "properties": {"x": 1}}), UNKNOWN, "charges[0].properties"),
    (charged({**UNIT, "unit_price": -1}), VALIDATION, "charges[0].unit_price"),
    (charged({**UNIT, "unit_price": "1e3"}), VALIDATION, "charges[0].unit_price"),
    (charged({**UNIT, "unit_price": "0.00000000001"}), VALIDATION, "charges[0].unit_price"),
    (charged({**UNIT, "unit_price": "9" * 29}), VALIDATION, "charges[0].unit_price"),
    (charged({**UNIT, "metric_key": None}), VALIDATION, "charges[0].metric_key"),
    (charged(UNIT, {**UNIT, "metric_key": "nope"}), "METRIC_NOT_FOUND", "charges[1].metric_key"),
    (charged({"pricing_model": "flat_fee", "amount": -1}), VALIDATION, "charges[0].amount"),
    (
        charged({"pricing_model": "flat_fee", "amount": 1, "metric_key": "calls"}),
        VALIDATION,
        "charges[0].metric_key",
    ),
    (
        charged({"pricing_model": "flat_fee", "amount": 1, "billing": "never"}),
        VALIDATION,
        "charges[0].billing",
    ),
    (
        charged({**PACKAGE, "package_size": 0, "package_price": 1}),
        VALIDATION,
        "charges[0].package_size",
    ),
    (tiered(), VALIDATION, "charges[0].tiers"),
    (tiered(*[up(n + 1) for n in range(101)]), VALIDATION, "charges[0].tiers"),
    (tiered(up(10)), VALIDATION, "charges[0].tiers[0].up_to"),
    (tiered(up(10), up(20)), VALIDATION, "charges[0].tiers[1].up_to"),
    (tiered(up(None), up(None)), VALIDATION, "charges[0].tiers[0].up_to"),
    (tiered(up(20), up(10), up(None)), VALIDATION, "charges[0].tiers[1].up_to"),
    (tiered(up(10), up(10), up(None)), VALIDATION, "charges[0].tiers[1].up_to"),
    (tiered(up(0), up(None)), VALIDATION, "charges[0].tiers[0].up_to"),
    (tiered({"unit_price": 1}), VALIDATION, "charges[0].tiers[0].up_to"),
    (tiered(up(None, unit_price="x")), VALIDATION, "charges[0].tiers[0].unit_price"),
    (tiered(up(None, unit_amount=2)), VALIDATION, "charges[0].tiers[0].unit_price"),
    (tiered(up(None, flat_amount=-1)), VALIDATION, "charges[0].tiers[0].flat_amount"),
    (granting({**LIMIT, "metric_key": "nope"}), "METRIC_NOT_FOUND", "entitlements[0].metric_key"),
    (granting({**LIMIT, "limit": -1}), VALIDATION, "entitlements[0].limit"),
    (granting({**LIMIT, "value": 1}), UNKNOWN, "entitlements[0].value"),
    (granting(LIMIT, LIMIT), VALIDATION, "entitlements[1].feature_key"),
    (granting({"feature_key": "f", "type": "magic"}), VALIDATION, "entitlements[0].type"),
    (
        granting({"feature_key": "f", "type": "boolean", "value": "yes"}),
        VALIDATION,
        "entitlements[0].value",
    ),
)

METHOD = {"provider_customer_id": "cus_1", "provider_payment_method": "pm_1"}
BAD_CUSTOMERS = (
    ({}, VALIDATION, "id"),
    ({"id": ""}, VALIDATION, "id"),
    ({"id": "a/b"}, VALIDATION, "id"),
    ({"id": "c", "email": "nobody"}, VALIDATION, "email"),
    ({"id": "c", "email": "a@b\r\nBcc: c@d"}, VALIDATION, "email"),
    ({"id": "c", "email": "a@b@c"}, VALIDATION, "email"),
    ({"id": "c", "currency": "usd"}, UNKNOWN, "currency"),
    ({"id": "c", "billing": {"provider": "Bad Name"}}, VALIDATION, "billing.provider"),
    ({"id": "c", "billing": {"providers": "x"}}, UNKNOWN, "billing.providers"),
    (
        {"id": "c", "payment_method": {"provider_customer_id": "cus_1"}},
        VALIDATION,
        "payment_method.provider_payment_method",
    ),
    (
        {"id": "c", "payment_method": {**METHOD, "provider_payment_method": "4242 4242 4242 4242"}},
        VALIDATION,
        "payment_method.provider_payment_method",
    ),
    (
        {"id": "c", "payment_method": {**METHOD, "provider_customer_id": "378282246310005"}},
        VALIDATION,
        "payment_method.provider_customer_id",
    ),
    ({"id": "c", "metadata": {str(n): "x" for n in range(51)}}, VALIDATION, "metadata"),
    ({"id": "c", "metadata": {"k": "x" * 501}}, VALIDATION, "metadata"),
    ({"id": "c", "metadata": {"k": 1.5}}, VALIDATION, "metadata"),
    ({"id": "c", "metadata": {"k": {}}}, VALIDATION, "metadata"),
    ({"id": "c", "metadata": {"k": "a\0"}}, VALIDATION, "metadata.k"),
    ({"id": "c", "metadata": []}, VALIDATION, "metadata"),
)

START = {"customer_id": "acme", "plan_id": "growth", "start_date": "2026-05-01"}
BAD_SUBSCRIPTIONS = (
    ({"customer_id": "acme", "plan_id": "growth"}, VALIDATION, "start_date"),
    ({**START, "start_date": "2026-05-01T00:00:00"}, VALIDATION, "start_date"),
    ({**START, "start_date": "2026-02-30"}, VALIDATION, "start_date"),
    ({**START, "start_date": "20260501"}, VALIDATION, "start_date"),
    ({**START, "start_date": "9999-12-31"}, VALIDATION, "start_date"),
    ({**START, "start_date": ""}, VALIDATION, "start_date"),
    ({**START, "start_date": 20260501}, VALIDATION, "start_date"),
    ({**START, "end_date": "2026-05-01"}, VALIDATION, "end_date"),
    ({**START, "end_date": "2026-04-01"}, VALIDATION, "end_date"),
    ({**START, "plan_version": 0}, VALIDATION, "plan_version"),
    ({**START, "plan_version": "1"}, VALIDATION, "plan_version"),
    ({**START, "plan_version": 2**40}, VALIDATION, "plan_version"),
    ({**START, "status": "active"}, UNKNOWN, "status"),
)


@pytest.mark.parametrize(("body", "status", "code", "field"), BAD_METRICS)
async def test_metrics(catalogue: Api, body: object, status: int, code: str, field: str) -> None:
    assert await catalogue.refused("/v1/metrics", body) == (status, code, field)
    assert len((await catalogue.got("/v1/metrics"))["data"]) == 2


async def test_price_plans(catalogue: Api) -> None:
    for body, code, field in BAD_PLANS:
        status = 404 if code.endswith("NOT_FOUND") else 422
        assert await catalogue.refused("/v1/price-plans", body) == (status, code, field)
    assert (await catalogue.got("/v1/price-plans/growth"))["version"] == 1
    assert len((await catalogue.got("/v1/price-plans"))["data"]) == 1


async def test_customers(catalogue: Api) -> None:
    for body, code, field in BAD_CUSTOMERS:
        status, refused, where = await catalogue.refused("/v1/customers", body)
        assert (status, refused) == (422, code), body
        assert where == field or (field == "metadata" and str(where).startswith(field)), body
    assert len((await catalogue.got("/v1/customers"))["data"]) == 1


async def test_subscriptions(catalogue: Api) -> None:
    for body, code, field in BAD_SUBSCRIPTIONS:
        assert await catalogue.refused("/v1/subscriptions", body) == (422, code, field), body
    assert (await catalogue.got("/v1/subscriptions"))["data"] == []
    assert (await catalogue.got("/v1/customers/acme"))["currency"] is None


async def test_cursors_of_other_lists_and_none(catalogue: Api) -> None:
    for path in (
        "/v1/metrics",
        "/v1/price-plans",
        "/v1/price-plans/growth/versions",
        "/v1/customers",
        "/v1/subscriptions",
    ):
        cursors = [encode_cursor(*values) for values in ((), (None,), (1, 2), (10**11,), ({},))]
        for cursor in (*cursors, "é", "*"):
            status, answer = await catalogue.get(path, cursor=cursor)
            assert (status, answer["error"]["field"]) == (422, "cursor"), (path, cursor)
    early = encode_cursor("0001-01-01T00:00:00+14:00", "a")
    status, answer = await catalogue.get("/v1/price-plans", cursor=early)
    assert (status, answer["error"]["field"]) == (422, "cursor")


async def test_names_in_paths_that_nothing_can_have(catalogue: Api) -> None:
    for path in ("/v1/metrics/%00", "/v1/customers/%00", "/v1/subscriptions/a%00b"):
        status, _ = await catalogue.get(path)
        assert status == 422
    for path in ("/v1/metrics/é", "/v1/price-plans/%20", "/v1/customers/%F0%9F%98%80"):
        status, _ = await catalogue.get(path)
        assert status == 404
