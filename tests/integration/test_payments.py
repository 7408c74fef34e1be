"""Payments through the API: listed, read, and resolved by an operator who found out."""

import asyncio
from typing import get_args

import msgspec
import pytest

from abaxus_core.domain.payments import PaymentState
from abaxus_core.errors import PaymentDeclined
from abaxus_core.kernel import sql
from abaxus_core.services import charging
from tests.support.api import bearer, error_of, serving
from tests.support.collection import (
    ACTOR,
    Remembering,
    actions_of,
    make_context,
    make_invoice,
    payments_of,
)

PAGES_MAX = 20
ORDINARY = 5_000
ROWS_READ_MAX = 200


@pytest.fixture
async def api(databases, clock):
    async with serving(databases, clock) as api:
        yield api


@pytest.fixture
def provider():
    """Loses every answer, and cannot be asked afterwards."""
    return Remembering(lost=100, ttl_s=0, fetch=False, find=False)


@pytest.fixture
def context(live, clock, provider):
    return make_context(live, clock, providers={"sandbox": provider})


async def lost_charge(context, clock, *, handed_over=False):
    """The ids of an invoice and of its payment, whose outcome nobody knows."""
    invoice_id = await make_invoice(context.database, clock.now)
    payment = (await charging.charge(context, ACTOR, invoice_id)).payment
    if handed_over:
        clock.set(payment.next_check_at)
        await charging.resolve(context, payment.id)
    return invoice_id, payment.id


async def resolve(api, payment_id, outcome, **more):
    body = {"outcome": outcome, "note": "seen on the dashboard", **more}
    return await api.client.post(f"/v1/payments/{payment_id}/resolve", json=body)


async def invoice_now(api, invoice_id):
    invoice = (await api.client.get(f"/v1/invoices/{invoice_id}")).json()
    return invoice["status"], invoice["payment_status"]


async def test_a_payment_is_read_by_its_id_and_with_its_invoice(api, context, clock):
    invoice_id, payment_id = await lost_charge(context, clock)

    alone = (await api.client.get(f"/v1/payments/{payment_id}")).json()

    assert alone == {
        "id": payment_id,
        "invoice_id": invoice_id,
        "provider": "sandbox",
        "provider_payment_id": None,
        "status": "unknown",
        "amount": 15775,
        "currency": "usd",
        "code": "plugin_error",
        "provider_code": None,
        "retry": None,
        "attempted_at": "2026-05-10T12:00:00Z",
        "settled_at": None,
    }
    of_invoice = (await api.client.get(f"/v1/invoices/{invoice_id}/payments")).json()
    assert of_invoice == {"data": [alone], "next_cursor": None}
    assert (await api.client.get("/v1/payments")).json()["data"] == [alone]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/payments/pay_none", "PAYMENT_NOT_FOUND"),
        ("POST", "/v1/payments/pay_none/resolve", "PAYMENT_NOT_FOUND"),
        ("GET", "/v1/invoices/inv_none/payments", "INVOICE_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_not_found(api, method, path, code):
    body = {"outcome": "declined", "note": "n"} if method == "POST" else None
    assert error_of(await api.client.request(method, path, json=body)) == (404, code, None)


async def test_pages_go_back_in_time_and_filters_hold(api, live, clock):
    context = make_context(live, clock)
    declined = []
    for number in range(5):
        method = "pm_declined" if number % 2 else "pm_ok"
        invoice_id = await make_invoice(live, clock.now, method=method, customer_id=f"c{number}")
        for _ in range(1 + number % 2):
            try:
                await charging.charge(context, ACTOR, invoice_id)
            except PaymentDeclined:
                declined.append(invoice_id)

    async def pages(**query):
        found, cursor = [], None
        for _ in range(PAGES_MAX):
            params = {"limit": 2, **query, **({"cursor": cursor} if cursor else {})}
            answer = (await api.client.get("/v1/payments", params=params)).json()
            found += answer["data"]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        return found

    every = await pages()
    assert len(every) == 7
    assert [one["id"] for one in every] == sorted((one["id"] for one in every), reverse=True)
    assert await pages(status="declined") == [one for one in every if one["status"] == "declined"]
    assert len(await pages(status="declined")) == 4
    assert len(await pages(invoice_id=declined[0])) == 2
    assert await pages(invoice_id=declined[0], status="succeeded") == []
    assert await pages(status="unknown") == await pages(invoice_id="inv_none") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=sending", "status"),
        ("invoice_id=", "invoice_id"),
        ("cursor=nonsense", "cursor"),
        ("limit=0", "limit"),
        ("customer=acme", "customer"),
    ],
)
async def test_a_query_that_will_not_do_names_its_field(api, query, field):
    answer = await api.client.get(f"/v1/payments?{query}")
    assert answer.status_code == 422
    assert error_of(answer)[2] == field


@pytest.mark.parametrize("handed_over", [False, True])
@pytest.mark.parametrize(
    ("outcome", "shows"),
    [
        ("succeeded", ("paid", "succeeded")),
        ("declined", ("issued", "failed")),
        ("not_charged", ("issued", "failed")),
    ],
)
async def test_an_operator_says_what_happened_and_the_invoice_follows(
    api, context, clock, handed_over, outcome, shows
):
    invoice_id, payment_id = await lost_charge(context, clock, handed_over=handed_over)

    resolved = await resolve(api, payment_id, outcome)

    assert resolved.status_code == 200
    assert resolved.json()["status"] == outcome
    assert resolved.json()["settled_at"] is not None
    assert await invoice_now(api, invoice_id) == shows
    trail = (await api.client.get(f"/v1/invoices/{invoice_id}/audit")).json()["data"]
    followed, said = trail[0], trail[1]
    assert followed["action"] == (
        "invoice.paid" if outcome == "succeeded" else f"payment.{outcome}"
    )
    assert said["action"] == "payment.resolved"
    assert said["actor"] == followed["actor"] != "system"
    assert said["data"]["outcome"] == outcome
    assert said["data"]["note"] == "seen on the dashboard"
    assert said["data"]["payment_id"] == payment_id


async def test_resolved_twice_is_resolved_once(api, context, clock):
    invoice_id, payment_id = await lost_charge(context, clock, handed_over=True)

    first = await resolve(api, payment_id, "succeeded")
    again = await resolve(api, payment_id, "succeeded")
    other = await resolve(api, payment_id, "declined")

    assert first.json() == again.json()
    assert error_of(other)[:2] == (409, "INVALID_STATE")
    assert other.json()["error"]["details"] == {"payment_id": payment_id, "status": "succeeded"}
    actions = await actions_of(context, invoice_id)
    assert (actions.count("payment.resolved"), actions.count("invoice.paid")) == (1, 1)


async def test_two_operators_at_once_agree_on_one_outcome(api, context, clock):
    invoice_id, payment_id = await lost_charge(context, clock, handed_over=True)

    answers = await asyncio.gather(
        *(resolve(api, payment_id, outcome) for outcome in ("succeeded", "not_charged") * 5)
    )

    assert sorted({answer.status_code for answer in answers}) == [200, 409]
    assert sum(answer.status_code == 200 for answer in answers) == 5
    assert (await actions_of(context, invoice_id)).count("payment.resolved") == 1
    (payment,) = await payments_of(context, invoice_id)
    paid = await invoice_now(api, invoice_id) == ("paid", "succeeded")
    assert paid == (payment.state == "succeeded")


async def test_what_was_not_charged_may_be_charged_again(api, context, clock, provider):
    invoice_id, payment_id = await lost_charge(context, clock, handed_over=True)
    await resolve(api, payment_id, "not_charged")
    provider.lost = 0

    assert (await charging.charge(context, ACTOR, invoice_id)).settled

    first, second = await payments_of(context, invoice_id)
    assert first.idempotency_key != second.idempotency_key


@pytest.mark.parametrize("method", ["pm_ok", "pm_pending", "pm_requires_action"])
async def test_what_is_known_or_still_asked_about_is_not_resolved_by_hand(api, live, clock, method):
    invoice_id = await make_invoice(live, clock.now, method=method)
    payment = (await charging.charge(make_context(live, clock), ACTOR, invoice_id)).payment
    before = await invoice_now(api, invoice_id)

    answer = await resolve(api, payment.id, "not_charged")

    assert error_of(answer)[:2] == (409, "INVALID_STATE")
    assert await invoice_now(api, invoice_id) == before


async def test_metrics_say_how_many_wait_for_what(api, context, clock):
    await lost_charge(context, clock, handed_over=True)

    text = (await api.client.get("/metrics")).text

    assert 'abaxus_payments_unsettled{mode="live",state="needs_operator"} 1.0' in text
    assert 'abaxus_payments_unsettled{mode="live",state="unknown"} 0.0' in text
    assert 'abaxus_payments_unsettled{mode="test",state="needs_operator"} 0.0' in text


async def test_resolving_is_for_admins_and_says_why(api, context, clock):
    _, payment_id = await lost_charge(context, clock)
    path = f"/v1/payments/{payment_id}/resolve"
    body = {"outcome": "succeeded", "note": "n"}

    key = bearer(await api.key("write", "read"))
    assert error_of(await api.client.post(path, json=body, headers=key))[0] == 403
    for wrong, field in (
        ({"outcome": "succeeded"}, "note"),
        ({"outcome": "succeeded", "note": ""}, "note"),
        ({"outcome": "paid", "note": "n"}, "outcome"),
        ({"outcome": "succeeded", "note": "n", "amount": 1}, "amount"),
    ):
        answer = await api.client.post(path, json=wrong)
        assert (answer.status_code, error_of(answer)[2]) == (422, field)


async def test_a_resolution_under_an_idempotency_key_is_answered_again(api, context, clock):
    _, payment_id = await lost_charge(context, clock)
    first = await resolve(api, payment_id, "look_again", idempotency_key="k1")
    again = await resolve(api, payment_id, "look_again", idempotency_key="k1")

    assert first.json() == again.json()
    assert again.headers["idempotent-replay"] == "true"


@pytest.mark.parametrize(
    ("statement", "arguments", "index"),
    [
        ("page", ("~", 51), "payments_pkey"),
        ("page_of_states", (["unknown", "needs_operator"], "~", 51), "payments_of_state"),
        (
            "page_of_invoice",
            ("inv_1", list(get_args(PaymentState)), "~", 51),
            "payments_of_invoice",
        ),
    ],
)
async def test_lists_read_their_page_and_no_more(live, clock, statement, arguments, index):
    async with live.connection() as conn:
        await conn.execute("ALTER TABLE payments DROP CONSTRAINT payments_invoice")
        await conn.execute(
            """
            INSERT INTO payments (payment_id, invoice_id, provider, account_fingerprint, attempt_id,
                idempotency_key, amount_minor, currency, request, request_sha256, state,
                created_at, settled_at)
            SELECT 'pay_' || lpad(n::text, 8, '0'), 'inv_' || n, 'sandbox', 'f', gen_random_uuid(),
                gen_random_uuid(), 1, 'usd', '{}', '', 'declined', $1, $1
            FROM generate_series(1, $2) AS n
            """,
            clock.now,
            ORDINARY,
        )
        await conn.execute("ANALYZE payments")
        text = sql.load("payments")[statement].text
        plan = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *arguments)
    nodes = list(_nodes(msgspec.json.decode(plan)[0]["Plan"]))
    assert index in {node.get("Index Name") for node in nodes}
    assert sum(_rows_read(node) for node in nodes if "Relation Name" in node) <= ROWS_READ_MAX


def _nodes(node):
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows_read(node):
    return (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
