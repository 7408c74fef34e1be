"""The Adyen plugin: what its settings refuse, and what Adyen's answers prove."""

import doctest
import json
from contextlib import asynccontextmanager
from decimal import Decimal

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from abaxus_core.conformance.payment_bench import KEY, OTHER_KEY
from abaxus_core.conformance.payment_bench import REQUEST as ANY_REQUEST
from abaxus_core.conformance.transport import Stage, json_reply
from abaxus_core.kernel import outbound, plugin_manager
from abaxus_core.plugin.payments import InvalidRequest, Outcome, RefundRequest
from abaxus_plugins.adyen import amounts, declines
from tests.contract.test_payment_conformance import (
    PSP,
    adyen_answers,
    adyen_receives,
    adyen_refuses,
)
from tests.support.providers import SPECS

SETTINGS = {"ADYEN_API_KEY": "AQEhunter2", "ADYEN_MERCHANT_ACCOUNT": "AcmeECOM"}
LIVE = {"ADYEN_ENVIRONMENT": "live", "ADYEN_LIVE_PREFIX": "1797a841fbb37ca7-AdyenDemo"}
LIVE_HOST = "1797a841fbb37ca7-adyendemo-checkout-live.adyenpayments.com"
REQUEST = replace(ANY_REQUEST, payment_method_ref="8415718415172204")


@asynccontextmanager
async def adyen(reply, environ=None):
    plugins = plugin_manager.load(["adyen"], {**SETTINGS, **(environ or {})})
    stage = Stage(reply)

    def http(hosts):
        return outbound.open_client(hosts, network=stage)

    async with plugin_manager.opened(plugins, http=http) as opened:
        yield opened.payment_providers["adyen"], stage


async def charged(reply, *, replay=False) -> Outcome:
    async with adyen(reply) as (provider, _):
        return await provider.charge(provider.prepare(REQUEST), KEY, replay=replay)


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"ADYEN_API_KEY": "AQE hunter2"}, "ADYEN_API_KEY: must be an API key of Adyen"),
        ({"ADYEN_MERCHANT_ACCOUNT": "Acme/ECOM"}, "ADYEN_MERCHANT_ACCOUNT: must be the name"),
        ({"ADYEN_ENVIRONMENT": "live"}, "ADYEN_LIVE_PREFIX is not set, and ADYEN_ENVIRONMENT is"),
        ({**LIVE, "ADYEN_ENVIRONMENT": "test"}, "ADYEN_LIVE_PREFIX is set, and"),
        ({**LIVE, "ADYEN_LIVE_PREFIX": "evil.example/x"}, "ADYEN_LIVE_PREFIX: must be the prefix"),
        ({"ADYEN_RECURRING_PROCESSING_MODEL": "CardOnFile"}, "must be one of Subscription, Unsch"),
        ({"ADYEN_RETURN_URL": "http://x.example"}, "ADYEN_RETURN_URL: must be an https URL"),
    ],
)
def test_settings_that_do_not_fit_stop_the_start_by_name(environ, fault):
    with pytest.raises(plugin_manager.ConfigurationError) as refused:
        plugin_manager.load(["adyen"], {**SETTINGS, **environ})
    (said,) = refused.value.faults
    assert fault in said
    assert "hunter2" not in said


def test_every_fault_is_named():
    with pytest.raises(plugin_manager.ConfigurationError) as refused:
        plugin_manager.load(["adyen", "stripe"], {})
    missing = ["ADYEN_API_KEY", "ADYEN_MERCHANT_ACCOUNT", "STRIPE_SECRET_KEY"]
    assert [fault.split(": ")[1] for fault in refused.value.faults] == [
        f"{name} is not set" for name in missing
    ]


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "https://checkout-test.adyen.com/v72/payments"),
        (
            LIVE,
            f"https://{LIVE_HOST}/checkout/v72/payments",
        ),
    ],
)
async def test_where_it_charges(environ, url):
    async with adyen(adyen_answers, environ) as (provider, stage):
        await provider.charge(provider.prepare(REQUEST), KEY, replay=False)
        assert stage.sent[0].url == url


async def test_a_charge_says_what_the_readme_says():
    environ = {"ADYEN_RECURRING_PROCESSING_MODEL": "UnscheduledCardOnFile"}
    async with adyen(adyen_answers, environ) as (provider, _):
        frozen = provider.prepare(REQUEST)
    assert msgspec.json.decode(frozen.body) == {
        "amount": {"currency": "EUR", "value": 15775},
        "merchantAccount": "AcmeECOM",
        "reference": REQUEST.attempt_id.hex,
        "paymentMethod": {
            "type": "scheme",
            "storedPaymentMethodId": "8415718415172204",
        },
        "shopperReference": "cus_conformance",
        "shopperInteraction": "ContAuth",
        "recurringProcessingModel": "UnscheduledCardOnFile",
        "returnUrl": "https://abaxus.invalid/",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"customer_ref": "payer@customer.example"},
        {"customer_ref": "ab"},
        {"customer_ref": "a b c"},
        {"payment_method_ref": "4242 4242 4242 4242"},
        {"payment_method_ref": ""},
    ],
)
async def test_only_references_are_sent(change):
    async with adyen(adyen_answers) as (provider, _):
        with pytest.raises(InvalidRequest) as refused:
            provider.prepare(replace(REQUEST, **change))
    assert refused.value.code == "reference_invalid"


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("Authorised", "succeeded"),
        ("Refused", "declined"),
        ("Cancelled", "declined"),
        ("Error", "declined"),
        ("Received", "pending"),
        ("Pending", "pending"),
        ("RedirectShopper", "requires_action"),
        ("IdentifyShopper", "requires_action"),
        ("ChallengeShopper", "requires_action"),
        ("PresentToShopper", "requires_action"),
        ("PartiallyAuthorised", "unknown"),
        ("AuthenticationFinished", "unknown"),
        ("AuthenticationNotRequired", "unknown"),
        ("Success", "unknown"),
        ("authorised", "unknown"),
    ],
)
async def test_results(result, outcome):
    said = await charged(lambda request: adyen_answers(request, resultCode=result))
    assert (said.status, said.provider_ref, said.raw_status) == (outcome, PSP, result)


@pytest.mark.parametrize(
    "changes",
    [
        {"merchantReference": "another"},
        {"amount": None},
        {"amount": {"currency": "IRR", "value": 1}},
        {"amount": {"currency": "EUR", "value": "15775"}},
    ],
)
async def test_an_authorisation_that_does_not_add_up_proves_nothing(changes):
    said = await charged(lambda request: adyen_answers(request, **changes))
    assert said.status == "unknown"


@pytest.mark.parametrize(
    ("reply", "first", "repeated"),
    [
        (adyen_refuses(400, "702", "internal"), "rejected", "rejected"),
        (adyen_refuses(422, "137", "validation"), "rejected", "rejected"),
        (adyen_refuses(401, "000", "security"), "rejected", "unknown"),
        (adyen_refuses(403, "901", "security"), "rejected", "unknown"),
        (adyen_refuses(409, "704", "validation"), "unknown", "unknown"),
        (adyen_refuses(422, "704", "validation", transient=True), "unknown", "unknown"),
        (adyen_refuses(503, "703", "internal", transient=True), "transient", "unknown"),
        (adyen_refuses(500, "905", "internal", transient=True), "transient", "unknown"),
        (adyen_refuses(500, "905", "internal"), "unknown", "unknown"),
        (adyen_refuses(404, "x", "internal"), "unknown", "unknown"),
        (json_reply(401, {"message": "no type"}), "unknown", "unknown"),
    ],
)
async def test_errors_of_the_first_send_and_of_a_repeated_one(reply, first, repeated):
    assert (await charged(reply)).status == first
    assert (await charged(reply, replay=True)).status == repeated


@pytest.mark.parametrize("result", ["Refused", "Error"])
async def test_a_refusal_of_a_repeat_counts_only_as_the_stored_answer(result):
    def fresh(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=adyen_answers(request, resultCode=result).content)

    assert (await charged(fresh)).status == "declined"
    assert (await charged(fresh, replay=True)).status == "unknown"
    wrong = {"errorType": "validation", "errorCode": "137"}
    assert (await charged(json_reply(422, wrong), replay=True)).status == "unknown"


@pytest.mark.parametrize(
    ("reason", "code", "retry"),
    [
        ("12", "insufficient_funds", "later"),
        ("6", "expired_card", "new_instrument"),
        ("38", "authentication_required", "customer_action"),
        ("46", "blocked_by_adyen", "never"),
        ("999", "declined", "later"),
        (None, "declined", "later"),
    ],
)
async def test_a_refusal_says_why_and_what_would_help(reason, code, retry):
    said = await charged(
        lambda request: adyen_answers(request, resultCode="Refused", refusalReasonCode=reason)
    )
    assert (said.code, said.provider_code, said.retry) == (code, reason, retry)


@pytest.mark.parametrize(
    ("reference", "path", "body"),
    [
        (PSP, f"/v72/payments/{PSP}/cancels", {}),
        (None, "/v72/cancels", {"paymentReference": REQUEST.attempt_id.hex}),
    ],
)
async def test_a_payment_is_cancelled_by_name_or_by_our_reference(reference, path, body):
    async with adyen(adyen_receives) as (provider, stage):
        frozen = provider.prepare(REQUEST)
        said = await provider.cancel(frozen, OTHER_KEY, provider_ref=reference)
    assert (said.status, said.code) == ("unknown", "cancellation_received")
    assert stage.sent[0].url == f"https://checkout-test.adyen.com{path}"
    ours = {"merchantAccount": "AcmeECOM", "reference": REQUEST.attempt_id.hex}
    assert msgspec.json.decode(stage.sent[0].body) == {**ours, **body}


async def test_a_refund_is_taken_note_of():
    request = RefundRequest(
        refund_id=REQUEST.attempt_id, provider_ref=PSP, amount=Decimal(1), currency="EUR"
    )
    async with adyen(adyen_receives) as (provider, stage):
        frozen = provider.prepare_refund(request)
        assert (await provider.refund(frozen, OTHER_KEY, replay=False)).status == "pending"
        stage.reply = adyen_refuses(503, "703", "internal", transient=True)
        assert (await provider.refund(frozen, OTHER_KEY, replay=False)).status == "transient"
        stage.reply = adyen_refuses(422, "137", "validation")
        assert (await provider.refund(frozen, OTHER_KEY, replay=False)).status == "rejected"
        stage.reply = json_reply(201, {"status": "received", "pspReference": "X"})
        assert (await provider.refund(frozen, OTHER_KEY, replay=False)).status == "unknown"
        assert (await provider.fetch_refund("X", frozen)).status == "unknown"


async def test_another_host_is_another_account():
    async with adyen(adyen_answers) as (test, _), adyen(adyen_answers, LIVE) as (live, _):
        assert test.account != live.account


def test_the_worked_examples_hold():
    assert doctest.testmod(amounts).failed == 0


@pytest.mark.skipif(not SPECS.exists(), reason="the published tables are not here")
def test_our_tables_are_the_published_ones():
    table = json.loads((SPECS / "currency-exponents.json").read_text())["adyen"]["exponent"]
    assert set(table) == amounts.CURRENCIES
    for currency, digits in table.items():
        assert amounts.to_minor(Decimal(7), currency) == 7 * 10**digits
        assert amounts.to_major(7 * 10**digits, currency) == 7
    reasons = json.loads((SPECS / "decline-classification.json").read_text())
    classes = {code: reason["retry"] for code, reason in reasons["adyen_refusalReasonCode"].items()}
    assert {code: declines.retry_of(code) for code in classes} == classes
