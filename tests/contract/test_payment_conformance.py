"""Our payment providers, held to what every payment provider is held to."""

from urllib.parse import parse_qsl

import httpx
import msgspec

from abaxus_core.conformance.payment_bench import KEY, REQUEST
from abaxus_core.conformance.payments import PaymentProviderContract
from abaxus_core.conformance.transport import Reply, json_reply
from abaxus_plugins import adyen, sandbox, stripe

PI = "pi_3Conformance"
PSP = "NC6HT9CRT65ZGN82"


class TestSandbox(PaymentProviderContract):
    descriptor = sandbox.register_payment_providers()[0]
    environ = {}
    secrets = frozenset()
    methods = {
        "success": "pm_ok",
        "declined": "pm_declined",
        "pending": "pm_pending",
        "requires_action": "pm_requires_action",
    }


def intent(fields: dict[str, str], **changes: object) -> dict[str, object]:
    """What Stripe says of the intent that `fields` asked for, its money taken."""
    amount = int(fields["amount"])
    return {
        "id": PI,
        "object": "payment_intent",
        "status": "succeeded",
        "amount": amount,
        "amount_received": amount,
        "currency": fields["currency"],
        "customer": fields["customer"],
        "livemode": False,
        "metadata": {"abaxus_attempt_id": fields["metadata[abaxus_attempt_id]"]},
        "last_payment_error": None,
        **changes,
    }


ASKED = {
    "amount": "15775",
    "currency": "eur",
    "customer": "cus_conformance",
    "metadata[abaxus_attempt_id]": str(REQUEST.attempt_id),
}


def stripe_takes(request: httpx.Request, **changes: object) -> httpx.Response:
    fields = dict(parse_qsl(request.content.decode()))
    return httpx.Response(200, json=intent(fields, **changes), headers={"Request-Id": "req_1"})


def stripe_refuses(status: int, intent: object = None, **error: str) -> Reply:
    with_intent = {"payment_intent": intent} if intent else {}
    return json_reply(status, {"error": {**error, **with_intent}})


def stripe_refunds(request: httpx.Request) -> httpx.Response:
    fields = dict(parse_qsl(request.content.decode()))
    refund = {
        "id": "re_3Conformance",
        "object": "refund",
        "status": "succeeded",
        "amount": int(fields["amount"]),
        "currency": "eur",
        "metadata": {"abaxus_refund_id": fields["metadata[abaxus_refund_id]"]},
    }
    return httpx.Response(200, json=refund)


def stripe_lists(*intents: object) -> Reply:
    body = {"object": "list", "data": list(intents), "has_more": False}
    return json_reply(200, body, {"Date": "Sun, 10 May 2026 13:00:00 GMT"})


class TestStripe(PaymentProviderContract):
    descriptor = stripe.register_payment_providers()[0]
    environ = {"STRIPE_SECRET_KEY": "sk_test_51Conformance"}
    secrets = frozenset({"STRIPE_SECRET_KEY"})
    amounts = {
        ("157.75", "EUR"): "15775",
        ("500", "JPY"): "500",
        ("500", "CLP"): "500",
        ("500", "UGX"): "50000",
        ("500", "ISK"): "50000",
        ("1.5", "IQD"): "150",
        ("1.23", "KWD"): "1230",
        ("12.34", "IDR"): "1234",
        ("1.234", "KWD"): None,
        ("1.50", "ISK"): None,
        ("0.5", "JPY"): None,
        ("0.001", "EUR"): None,
        ("0", "EUR"): None,
        ("-1", "EUR"): None,
    }
    replies = {
        "success": stripe_takes,
        "wrong_amount": lambda request: stripe_takes(request, amount_received=1),
        "declined": stripe_refuses(
            402,
            intent(ASKED, status="requires_payment_method"),
            type="card_error",
            code="card_declined",
            decline_code="insufficient_funds",
        ),
        "requires_action": stripe_refuses(
            402,
            intent(ASKED, status="requires_payment_method"),
            type="card_error",
            code="authentication_required",
        ),
        "pending": lambda request: stripe_takes(request, status="processing"),
        "invalid_request": stripe_refuses(
            400, type="invalid_request_error", code="amount_too_small", param="amount"
        ),
        "bad_credentials": stripe_refuses(401, type="invalid_request_error"),
        "rate_limited": stripe_refuses(429, type="invalid_request_error", code="rate_limit"),
        "key_in_use": stripe_refuses(
            409, type="invalid_request_error", code="idempotency_key_in_use"
        ),
        "key_reused": stripe_refuses(400, type="idempotency_error"),
        "server_error": stripe_refuses(500, type="api_error"),
        "unheard_status": lambda request: stripe_takes(request, status="levitating"),
        "fetched": json_reply(200, intent(ASKED)),
        "found": stripe_lists(intent({**ASKED, "metadata[abaxus_attempt_id]": "x"}), intent(ASKED)),
        "not_found": stripe_lists(),
        "cancelled": json_reply(200, intent(ASKED, status="canceled")),
        "cancelled_too_late": stripe_refuses(
            400,
            intent(ASKED),
            type="invalid_request_error",
            code="payment_intent_unexpected_state",
        ),
        "refunded": stripe_refunds,
        "valid": json_reply(200, {"object": "balance", "livemode": False}),
    }
    request = msgspec.structs.replace(REQUEST, payment_method_ref="pm_card_visa")


def adyen_answers(request: httpx.Request, **changes: object) -> httpx.Response:
    asked = msgspec.json.decode(request.content)
    answer = {
        "pspReference": PSP,
        "resultCode": "Authorised",
        "amount": asked["amount"],
        "merchantReference": asked["reference"],
        **changes,
    }
    return httpx.Response(200, json=answer, headers={"Idempotency-Key": KEY})


def adyen_refuses(status: int, code: str, kind: str, *, transient: bool = False) -> Reply:
    body = {"status": status, "errorCode": code, "message": "…", "errorType": kind}
    headers = {"transient-error": "true"} if transient else {}
    return json_reply(status, body, {**headers, "Idempotency-Key": KEY})


def adyen_receives(request: httpx.Request) -> httpx.Response:
    asked = msgspec.json.decode(request.content)
    answer = {"status": "received", "pspReference": "JLCMPCQ8HXSKGK82", **asked}
    return httpx.Response(201, json=answer)


class TestAdyen(PaymentProviderContract):
    descriptor = adyen.register_payment_providers()[0]
    environ = {
        "ADYEN_API_KEY": "AQEyhmfxConformance-{}",
        "ADYEN_MERCHANT_ACCOUNT": "AcmeECOM",
        "ADYEN_ENVIRONMENT": "live",
        "ADYEN_LIVE_PREFIX": "1797a841fbb37ca7-AdyenDemo",
    }
    secrets = frozenset({"ADYEN_API_KEY"})
    amount_field = "amount.value"
    amounts = {
        ("157.75", "EUR"): "15775",
        ("500", "JPY"): "500",
        ("500", "CLP"): "50000",
        ("500", "UGX"): "500",
        ("500", "CVE"): "500",
        ("500", "IDR"): "500",
        ("500", "ISK"): "50000",
        ("1.5", "IQD"): "1500",
        ("1.234", "KWD"): "1234",
        ("12.34", "IDR"): None,
        ("0.001", "EUR"): None,
        ("0", "EUR"): None,
        ("1", "IRR"): None,
    }
    replies = {
        "success": adyen_answers,
        "wrong_amount": lambda request: adyen_answers(
            request, amount={"currency": "EUR", "value": 1}
        ),
        "declined": lambda request: adyen_answers(
            request, resultCode="Refused", refusalReasonCode="12"
        ),
        "requires_action": lambda request: adyen_answers(request, resultCode="RedirectShopper"),
        "pending": lambda request: adyen_answers(request, resultCode="Received"),
        "invalid_request": adyen_refuses(422, "137", "validation"),
        "bad_credentials": adyen_refuses(401, "000", "security"),
        "rate_limited": adyen_refuses(429, "701", "internal", transient=True),
        "key_in_use": adyen_refuses(422, "704", "validation", transient=True),
        "server_error": adyen_refuses(500, "905", "internal"),
        "unheard_status": lambda request: adyen_answers(request, resultCode="Levitated"),
        "cancelled": adyen_receives,
        "refunded": adyen_receives,
        "valid": json_reply(200, {"paymentMethods": []}),
    }
    request = msgspec.structs.replace(REQUEST, payment_method_ref="8415718415172204")
