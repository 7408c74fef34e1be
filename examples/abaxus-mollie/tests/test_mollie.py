"""Mollie, held to what every payment provider is held to; it answers as its reference says."""

import doctest

import abaxus_mollie
import httpx
import msgspec
import pytest
from abaxus_mollie import amounts
from abaxus_mollie.settings import Settings

from abaxus_core.conformance.payment_bench import REQUEST
from abaxus_core.conformance.payment_capabilities import SENT_AT
from abaxus_core.conformance.payments import PaymentProviderContract
from abaxus_core.conformance.transport import Reply, json_reply
from abaxus_core.plugin.payments import NotFound
from abaxus_core.plugin.settings import Token

KEY = "test_dHar4XY7LxsDOtmnkVtjNVWXLSlXsM"
ASKED = {
    "amount": {"currency": "EUR", "value": "157.75"},
    "metadata": {"abaxus_attempt_id": str(REQUEST.attempt_id)},
}


def payment(asked: dict, **changes: object) -> dict:
    """What Mollie says of the payment that was asked for, its money taken."""
    return {
        "resource": "payment",
        "id": "tr_Conformance1",
        "mode": "test",
        "createdAt": "2026-05-10T12:00:00+00:00",
        "status": "paid",
        "amount": asked["amount"],
        "metadata": asked["metadata"],
        "profileId": "pfl_Conformance1",
        "sequenceType": "recurring",
        "details": None,
        **changes,
    }


def answers(**changes: object) -> Reply:
    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=payment(msgspec.json.decode(request.content), **changes))

    return reply


def refuses(status: int, title: str, **more: str) -> Reply:
    body = {"status": status, "title": title, "detail": f"key {KEY}", **more}
    return json_reply(status, body, {"Content-Type": "application/hal+json"})


def lists(*payments: dict) -> Reply:
    body = {"count": len(payments), "_embedded": {"payments": payments}, "_links": {"next": None}}
    return json_reply(200, body, {"Date": "Sun, 10 May 2026 13:00:00 GMT"})


class TestMollie(PaymentProviderContract):
    descriptor = abaxus_mollie.register_payment_providers()[0]
    environ = {"MOLLIE_API_KEY": KEY, "MOLLIE_PROFILE_ID": "pfl_Conformance1"}
    secrets = frozenset({"MOLLIE_API_KEY"})
    amount_field = "amount.value"
    amounts = {
        ("157.75", "EUR"): "157.75",
        ("1000", "EUR"): "1000.00",
        ("500", "JPY"): "500",
        ("500", "ISK"): "500",
        ("0.5", "JPY"): None,
        ("0.001", "EUR"): None,
        ("0", "EUR"): None,
        ("1", "KWD"): None,
    }
    replies = {
        "success": answers(),
        "wrong_amount": answers(amount={"currency": "EUR", "value": "1.00"}),
        "declined": answers(status="failed", details={"failureReason": "insufficient_funds"}),
        "pending": answers(status="pending"),
        "invalid_request": refuses(422, "Unprocessable Entity", field="mandateId"),
        "bad_credentials": refuses(401, "Unauthorized Request"),
        "rate_limited": refuses(429, "Too Many Requests"),
        "key_in_use": refuses(409, "Conflict"),
        "key_reused": refuses(400, "Bad Request"),
        "server_error": refuses(503, "Service Unavailable"),
        "unheard_status": answers(status="levitating"),
        "fetched": json_reply(200, payment(ASKED)),
        "found": lists(payment(ASKED, metadata="of another system"), payment(ASKED)),
        "not_found": lists(payment(ASKED, metadata=None)),
    }
    request = msgspec.structs.replace(
        REQUEST, customer_ref="cst_Conformance1", payment_method_ref="mdt_Conformance1"
    )


async def test_a_lost_payment_is_found_on_a_later_page() -> None:
    """The link to the next page is read for its `from` alone, and never followed."""
    rows = [payment(ASKED, id=f"tr_{number}", metadata=None) for number in range(3)]
    here = {"next": {"href": "https://elsewhere.example/v2/payments?from=tr_3&limit=250"}}

    def pages(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("from") == "tr_3":
            body = {"_embedded": {"payments": [payment(ASKED)]}, "_links": {"next": None}}
        else:
            body = {"_embedded": {"payments": rows}, "_links": here}
        return httpx.Response(200, json=body)

    async with TestMollie().opened(pages) as bench:
        frozen = bench.provider.prepare(TestMollie.request)
        found = await bench.find(frozen, REQUEST.attempt_id, SENT_AT, pages)
        assert (found.status, len(bench.stage.sent)) == ("succeeded", 2)
        assert set(bench.asked) == {"api.mollie.com"}


@pytest.mark.parametrize(
    ("date", "conclusive"),
    [
        ("Sun, 10 May 2026 13:59:59 GMT", False),
        ("Sun, 10 May 2026 14:00:00 GMT", True),
        ("some day", False),
        ("", False),
    ],
)
async def test_nothing_there_counts_when_the_key_is_forgotten(date: str, conclusive: bool) -> None:
    reply = json_reply(200, {"_embedded": {"payments": []}, "_links": {}}, {"Date": date})
    async with TestMollie().opened(reply) as bench:
        frozen = bench.provider.prepare(TestMollie.request)
        seen = await bench.find(frozen, REQUEST.attempt_id, SENT_AT, reply)
        assert seen == NotFound(conclusive=conclusive)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"api_key": Token("hunter2")}, "MOLLIE_API_KEY must"),
        ({"profile_id": "our profile"}, "MOLLIE_PROFILE_ID must"),
        ({"description": ""}, "MOLLIE_DESCRIPTION must"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(change: dict, fault: str) -> None:
    good = {"api_key": Token(KEY), "profile_id": "pfl_1"}
    assert Settings(**good).mode == "test"
    with pytest.raises(ValueError, match=fault) as refused:
        Settings(**{**good, **change})
    assert "hunter2" not in str(refused.value)


def test_the_examples_hold() -> None:
    assert doctest.testmod(amounts).failed == 0
