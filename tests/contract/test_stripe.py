"""The Stripe plugin: what its settings refuse, and what Stripe's answers prove."""

import doctest
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from msgspec.structs import replace

from abaxus_core.conformance.payment_bench import REQUEST as ANY_REQUEST
from abaxus_core.conformance.transport import Stage, json_reply
from abaxus_core.kernel import outbound, plugin_manager
from abaxus_core.plugin.payments import InvalidRequest, NotFound, Outcome, RefundRequest
from abaxus_plugins.stripe import amounts, declines
from tests.contract.test_payment_conformance import ASKED, PI, intent, stripe_refuses
from tests.support.providers import SPECS

KEY = "sk_test_51Hunter2"
REQUEST = replace(ANY_REQUEST, payment_method_ref="pm_card_visa")
ATTEMPT = "metadata[abaxus_attempt_id]"
SENT_FROM = datetime(2026, 5, 10, 12, tzinfo=UTC)
SENT_UNTIL = SENT_FROM + timedelta(hours=3)


@asynccontextmanager
async def stripe(reply, **environ):
    plugins = plugin_manager.load(["stripe"], {"STRIPE_SECRET_KEY": KEY, **environ})
    stage = Stage(reply)

    def http(hosts):
        return outbound.open_client(hosts, network=stage)

    async with plugin_manager.opened(plugins, http=http) as opened:
        yield opened.payment_providers["stripe"], stage


async def charged(reply, *, replay=False) -> Outcome:
    async with stripe(reply) as (provider, _):
        return await provider.charge(provider.prepare(REQUEST), "key-1", replay=replay)


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({}, "STRIPE_SECRET_KEY is not set"),
        (
            {"STRIPE_SECRET_KEY": "pk_live_hunter2"},
            "STRIPE_SECRET_KEY: must be a secret or restric",
        ),
        ({"STRIPE_SECRET_KEY": "sk_live_hunter 2"}, "(its value is not shown)"),
        (
            {"STRIPE_SECRET_KEY": "sk_live_hunter2", "STRIPE_ENVIRONMENT": "test"},
            "STRIPE_SECRET_KEY is of Stripe's live mode, and STRIPE_ENVIRONMENT is test",
        ),
        (
            {"STRIPE_SECRET_KEY": "rk_test_hunter2", "STRIPE_ENVIRONMENT": "live"},
            "STRIPE_SECRET_KEY is of Stripe's test mode, and STRIPE_ENVIRONMENT is live",
        ),
        ({"STRIPE_SECRET_KEY": KEY, "STRIPE_API_VERSION": "latest"}, "STRIPE_API_VERSION: must be"),
    ],
)
def test_settings_that_do_not_fit_stop_the_start_by_name(environ, fault):
    with pytest.raises(plugin_manager.ConfigurationError) as refused:
        plugin_manager.load(["stripe"], environ)
    (said,) = refused.value.faults
    assert fault in said
    assert "unter" not in said


async def test_the_pinned_version_is_frozen_with_the_request():
    async with stripe(json_reply(500, {})) as (provider, _):
        assert ("Stripe-Version", "2026-10-28.endive") in provider.prepare(REQUEST).headers


@pytest.mark.parametrize(
    "change",
    [
        {"customer_ref": "4242424242424242"},
        {"customer_ref": "cus_1/../../v1/refunds"},
        {"payment_method_ref": "4242 4242 4242 4242"},
        {"payment_method_ref": "pm_1&amount=1"},
    ],
)
async def test_only_stripes_own_ids_are_sent(change):
    async with stripe(json_reply(500, {})) as (provider, stage):
        with pytest.raises(InvalidRequest) as refused:
            provider.prepare(replace(REQUEST, **change))
        assert refused.value.code == "reference_invalid"
        assert stage.sent == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("succeeded", "succeeded"),
        ("processing", "pending"),
        ("requires_action", "requires_action"),
        ("requires_payment_method", "unknown"),
        ("requires_confirmation", "unknown"),
        ("requires_capture", "unknown"),
        ("canceled", "declined"),
        ("", "unknown"),
    ],
)
async def test_statuses_of_an_intent(status, outcome):
    assert (await charged(json_reply(200, intent(ASKED, status=status)))).status == outcome


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"livemode": True}, "other_mode"),
        ({"livemode": None}, "other_mode"),
        ({"metadata": {}}, "other_payment"),
        ({"metadata": {"abaxus_attempt_id": "another"}}, "other_payment"),
        ({"amount": "15775"}, "unreadable"),
    ],
)
async def test_an_intent_that_is_not_ours_proves_nothing(changes, code):
    outcome = await charged(json_reply(200, intent(ASKED, **changes)))
    assert (outcome.status, outcome.code) == ("unknown", code)


async def test_what_was_taken_counts_not_what_was_asked():
    outcome = await charged(json_reply(200, intent(ASKED, amount_received=15774)))
    assert outcome.echoed_amount == Decimal("157.74")


@pytest.mark.parametrize(
    ("reply", "first", "repeated"),
    [
        (stripe_refuses(402, type="card_error", code="card_declined"), "declined", "declined"),
        (stripe_refuses(402, type="api_error"), "unknown", "unknown"),
        (
            stripe_refuses(402, intent(ASKED, status="succeeded"), type="card_error"),
            "unknown",
            "unknown",
        ),
        (stripe_refuses(400, type="invalid_request_error", code="x"), "rejected", "rejected"),
        (
            stripe_refuses(404, type="invalid_request_error", code="resource_missing"),
            "rejected",
            "rejected",
        ),
        (
            stripe_refuses(400, intent(ASKED), type="invalid_request_error", code="x"),
            "unknown",
            "unknown",
        ),
        (stripe_refuses(400, type="idempotency_error"), "unknown", "unknown"),
        (stripe_refuses(401, type="invalid_request_error"), "rejected", "unknown"),
        (stripe_refuses(403, type="invalid_request_error"), "rejected", "unknown"),
        (stripe_refuses(409, code="idempotency_key_in_use"), "unknown", "unknown"),
        (stripe_refuses(409, code="lock_timeout"), "transient", "unknown"),
        (stripe_refuses(429, code="lock_timeout"), "transient", "unknown"),
        (stripe_refuses(429, code="rate_limit"), "transient", "unknown"),
        (stripe_refuses(429), "unknown", "unknown"),
        (stripe_refuses(424), "unknown", "unknown"),
        (stripe_refuses(500, type="api_error"), "unknown", "unknown"),
        (stripe_refuses(418, type="invalid_request_error"), "unknown", "unknown"),
    ],
)
async def test_errors_of_the_first_send_and_of_a_repeated_one(reply, first, repeated):
    assert (await charged(reply)).status == first
    assert (await charged(reply, replay=True)).status == repeated


@pytest.mark.parametrize(
    ("error", "code", "retry"),
    [
        ({"decline_code": "insufficient_funds"}, "insufficient_funds", "later"),
        ({"decline_code": "stolen_card"}, "stolen_card", "never"),
        ({"code": "expired_card"}, "expired_card", "new_instrument"),
        ({"decline_code": "something_new"}, "declined", "later"),
        (
            {"decline_code": "generic_decline", "advice_code": "do_not_try_again"},
            "generic_decline",
            "never",
        ),
    ],
)
async def test_a_decline_says_why_and_what_would_help(error, code, retry):
    said = {"code": "card_declined", **error}
    outcome = await charged(stripe_refuses(402, type="card_error", message="hush", **said))
    assert (outcome.status, outcome.code, outcome.retry) == ("declined", code, retry)
    assert "hush" not in repr(outcome)


@pytest.mark.parametrize(
    "error",
    [
        {"code": "authentication_required"},
        {"code": "card_declined", "decline_code": "authentication_required"},
        {"code": "payment_intent_action_required"},
        {"decline_code": "authentication_not_handled"},
    ],
)
async def test_authentication_is_the_payers(error):
    left = intent(ASKED, status="requires_payment_method")
    outcome = await charged(stripe_refuses(402, left, type="card_error", **error))
    assert (outcome.status, outcome.provider_ref) == ("requires_action", PI)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("999999999", 999_999_999), ("9" * 5000, None), ("soon", None), ("-1", None)],
)
async def test_how_long_to_wait(header, seconds):
    body = {"error": {"code": "rate_limit"}}
    outcome = await charged(json_reply(429, body, {"Retry-After": header}))
    assert (outcome.status, outcome.retry_after_s) == ("transient", seconds)


async def test_a_stored_answer_says_so():
    reply = json_reply(200, intent(ASKED), {"Idempotent-Replayed": "true", "Request-Id": "req_9"})
    outcome = await charged(reply, replay=True)
    assert (outcome.replayed, outcome.provider_request_id) == (True, "req_9")


def listing(at: datetime, *pages):
    """Pages of a list, each asked for after the last intent of the one before."""

    def reply(request: httpx.Request) -> httpx.Response:
        after = request.url.params.get("starting_after")
        number = 0 if after is None else 1 + [page[-1]["id"] for page in pages].index(after)
        body = {"data": list(pages[number]), "has_more": number + 1 < len(pages)}
        date = at.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return httpx.Response(200, json=body, headers={"Date": date})

    return reply


async def find(reply):
    async with stripe(reply) as (provider, stage):
        frozen = provider.prepare(REQUEST)
        found = await provider.find(
            REQUEST.attempt_id, frozen, sent_from=SENT_FROM, sent_until=SENT_UNTIL
        )
        return found, stage.sent


OTHERS = [intent({**ASKED, ATTEMPT: "another"}) | {"id": f"pi_{n}"} for n in range(3)]
FORGOTTEN = SENT_FROM + timedelta(hours=25)


async def test_a_lost_payment_is_found_on_whatever_page_it_is():
    found, sent = await find(listing(SENT_UNTIL, OTHERS, [intent(ASKED)]))
    assert isinstance(found, Outcome)
    assert (found.status, found.provider_ref) == ("succeeded", PI)
    assert sent[0].fields() == {
        "customer": "cus_conformance",
        "created[gte]": str(int(SENT_FROM.timestamp()) - 300),
        "created[lte]": str(int(SENT_UNTIL.timestamp()) + 300),
        "limit": "100",
    }
    assert sent[1].fields()["starting_after"] == "pi_2"


@pytest.mark.parametrize(
    ("at", "conclusive", "looks"),
    [
        (FORGOTTEN - timedelta(seconds=1), False, 1),
        (FORGOTTEN, True, 2),
        (SENT_FROM, False, 1),
    ],
)
async def test_an_empty_list_counts_once_the_key_is_forgotten(at, conclusive, looks):
    found, sent = await find(listing(at, OTHERS))
    assert found == NotFound(conclusive=conclusive)
    assert len(sent) == looks


async def test_a_list_without_end_or_date_is_no_proof():
    endless = listing(FORGOTTEN, *([{**OTHERS[0], "id": f"pi_{n}"}] for n in range(30)))
    assert (await find(endless))[0] == NotFound(conclusive=False)
    undated = json_reply(200, {"data": [], "has_more": False})
    assert (await find(undated))[0] == NotFound(conclusive=False)


async def test_two_intents_of_one_attempt_are_an_operators():
    found, _ = await find(listing(SENT_UNTIL, [intent(ASKED), intent(ASKED) | {"id": "pi_2"}]))
    assert isinstance(found, Outcome)
    assert (found.status, found.code) == ("unknown", "found_twice")


@pytest.mark.parametrize("reference", ["../refunds", "pi_1?expand[]=customer", ""])
async def test_only_a_reference_of_stripes_stands_in_a_path(reference):
    async with stripe(json_reply(500, {})) as (provider, stage):
        frozen = provider.prepare(REQUEST)
        with pytest.raises(InvalidRequest):
            await provider.fetch(reference, frozen)
        with pytest.raises(InvalidRequest):
            await provider.cancel(frozen, "key-2", provider_ref=reference)
        assert stage.sent == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("succeeded", "succeeded"),
        ("pending", "pending"),
        ("requires_action", "pending"),
        ("failed", "rejected"),
        ("canceled", "rejected"),
        ("sublimated", "unknown"),
    ],
)
async def test_statuses_of_a_refund(status, outcome):
    request = RefundRequest(
        refund_id=REQUEST.attempt_id, provider_ref=PI, amount=Decimal(1), currency="EUR"
    )
    refund = {
        "id": "re_1",
        "status": status,
        "amount": 100,
        "currency": "eur",
        "metadata": {"abaxus_refund_id": str(request.refund_id)},
    }
    async with stripe(json_reply(200, refund)) as (provider, stage):
        frozen = provider.prepare_refund(request)
        assert (await provider.refund(frozen, "key-3", replay=False)).status == outcome
        assert (await provider.fetch_refund("re_1", frozen)).status == outcome
        stage.reply = json_reply(200, {**refund, "amount": 99})
        assert (await provider.refund(frozen, "key-3", replay=False)).status == "unknown"


async def test_a_key_of_the_other_mode_is_told_by_the_balance():
    async with stripe(json_reply(200, {"livemode": True})) as (provider, _):
        (said,) = await provider.validate()
    assert "not of the key's mode" in said


def test_the_worked_examples_hold():
    assert doctest.testmod(amounts).failed == 0


@pytest.mark.skipif(not SPECS.exists(), reason="the published tables are not here")
def test_our_tables_are_the_published_ones():
    table = json.loads((SPECS / "currency-exponents.json").read_text())["stripe"]
    multiples = table["multiple_of"]
    for currency in {"EUR", "USD", *table["exponent"], *multiples}:
        minor = amounts.to_minor(Decimal(1000), currency)
        assert minor == 1000 * 10 ** table["exponent"].get(currency, table["default"])
        with pytest.raises(InvalidRequest):
            amounts.to_minor(amounts.to_major(minor, currency) + Decimal("0.0001"), currency)
        if currency in multiples:
            with pytest.raises(InvalidRequest):
                amounts.to_minor(amounts.to_major(multiples[currency] + 1, currency), currency)
    codes = json.loads((SPECS / "decline-classification.json").read_text())["stripe_decline_code"]
    assert {code: declines.retry_of(code, None) for code in codes} == codes
