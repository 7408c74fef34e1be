"""What Stripe and Adyen tell by themselves, over HTTP: signed, once or twice, in any order."""

import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from abaxus_core.http import app
from abaxus_core.http.routes import ENDPOINTS
from abaxus_core.kernel.plugin_manager import ConfigurationError, load
from abaxus_core.plugin.payments import ProviderEvent
from abaxus_core.services import charging, payments
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import perform
from tests.support.api import error_of
from tests.support.collection import (
    ACTOR,
    Remembering,
    actions_of,
    invoice_of,
    make_context,
    make_invoice,
    payments_of,
)
from tests.support.payment_scene import ENVIRON, FAKES
from tests.support.providers import opened, redirected
from tests.support.servers import client_of

SECRET = "whsec_Hunter2Hunter2"
HMAC_KEY = "44" * 32
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECRETS = {"STRIPE_WEBHOOK_SECRET": SECRET, "ADYEN_WEBHOOK_HMAC_KEY": HMAC_KEY}

both = pytest.mark.parametrize("name", FAKES)


class World:
    """A context that charges through the plugin, the fake at its other end, and the API."""

    def __init__(self, name, context, fake, client):
        self.name = name
        self.context = context
        self.fake = fake
        self.client = client

    async def lost(self):
        """The ids of an invoice and of its payment: charged, and the answer lost."""
        self.fake.faults.append("lose")
        invoice_id = await make_invoice(
            self.context.database, self.context.clock(), method=FAKES[self.name][2]
        )
        payment = (await charging.charge(self.context, ACTOR, invoice_id)).payment
        assert payment.state == "unknown"
        return invoice_id, payment.id

    def event(self, *, succeeded=True, amount=None, attempt=None):
        """A body as the provider sends it, of the last charge."""
        charge = self.fake.charges[-1]
        amount = charge.amount if amount is None else amount
        attempt = attempt or charge.reference
        if self.name == "stripe":
            return stripe_event(charge, attempt, amount, succeeded)
        return adyen_event(charge, attempt, amount, succeeded)

    async def tell(self, body, **headers):
        signed = signature(body, self.context.clock()) if self.name == "stripe" else {}
        return await self.client.post(
            f"/v1/webhooks/{self.name}",
            content=body,
            headers={"Content-Type": "application/json", **signed, **headers},
        )


def stripe_event(charge, attempt, amount, succeeded):
    intent = {
        "id": charge.payment_id,
        "object": "payment_intent",
        "status": "succeeded" if succeeded else "requires_payment_method",
        "amount": amount,
        "amount_received": amount if succeeded else 0,
        "currency": charge.currency,
        "livemode": False,
        "metadata": {"abaxus_attempt_id": attempt},
        "last_payment_error": None if succeeded else {"type": "card_error", "code": "expired_card"},
    }
    kind = "payment_intent." + ("succeeded" if succeeded else "payment_failed")
    return json.dumps({"id": "evt_1", "type": kind, "data": {"object": intent}}).encode()


def signature(body, at, secret=SECRET):
    seconds = str((at - EPOCH) // timedelta(seconds=1))
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={seconds},v1={'0' * 64},v1={digest},v0=x"}


def adyen_event(charge, attempt, amount, succeeded, key=HMAC_KEY):
    item = {
        "eventCode": "AUTHORISATION",
        "success": "true" if succeeded else "false",
        "pspReference": charge.payment_id,
        "merchantAccountCode": "AcmeECOM",
        "merchantReference": attempt,
        "amount": {"value": amount, "currency": charge.currency},
        "eventDate": "2026-05-10T12:00:00+02:00",
        "reason": "for people",
    }
    signed = (
        f"{charge.payment_id}::AcmeECOM:{attempt}:{amount}:{charge.currency}:AUTHORISATION:"
        + item["success"]
    )
    digest = hmac.new(bytes.fromhex(key), signed.encode(), hashlib.sha256).digest()
    item["additionalData"] = {"hmacSignature": base64.b64encode(digest).decode()}
    return json.dumps(
        {"live": "false", "notificationItems": [{"NotificationRequestItem": item}]}
    ).encode()


@asynccontextmanager
async def world(name, live, clock, secrets=SECRETS):
    kind, host, _ = FAKES[name]
    async with (
        kind(clock) as fake,
        opened([name], {**ENVIRON, **secrets}, redirected({host: fake.url})) as providers,
    ):
        context = make_context(live, clock, providers=providers, default=name)
        async with api(context) as client:
            yield World(name, context, fake, client)


@asynccontextmanager
async def api(context):
    application = app.build(
        {"live": context, "test": context}, context.settings, Telemetry(), resources=ENDPOINTS
    )
    async with client_of(application) as client:
        yield client


@both
async def test_a_lost_answer_is_told_and_told_again(live, clock, name):
    async with world(name, live, clock) as it:
        invoice_id, _ = await it.lost()
        sent = len(it.fake.heard)

        for _ in range(3):
            answer = await it.tell(it.event())
            assert (answer.status_code, answer.json()) == (200, {"received": True})

        assert (await invoice_of(it.context, invoice_id)).status == "paid"
        (payment,) = await payments_of(it.context, invoice_id)
        assert payment.provider_payment_id == it.fake.charges[0].payment_id
        assert (await actions_of(it.context, invoice_id)).count("invoice.paid") == 1
        assert len(it.fake.heard) == sent, "nobody was asked"


@both
async def test_an_older_event_that_comes_later_changes_nothing(live, clock, name):
    async with world(name, live, clock) as it:
        invoice_id, _ = await it.lost()
        await it.tell(it.event())
        before = await payments_of(it.context, invoice_id)

        assert (await it.tell(it.event(succeeded=False))).status_code == 200

        assert await payments_of(it.context, invoice_id) == before
        assert (await invoice_of(it.context, invoice_id)).status == "paid"


@both
async def test_a_refusal_is_told_too(live, clock, name):
    async with world(name, live, clock) as it:
        invoice_id, _ = await it.lost()
        await it.tell(it.event(succeeded=False))

        assert (await payments_of(it.context, invoice_id))[0].state == "declined"
        assert (await invoice_of(it.context, invoice_id)).payment_status == "failed"


@both
async def test_money_told_of_against_what_is_settled_is_one_alarm(live, clock, name):
    async with world(name, live, clock) as it:
        invoice_id, payment_id = await it.lost()
        await perform(
            it.context, ACTOR, lambda work: payments.resolve(work, payment_id, "not_charged", "n")
        )

        for _ in range(3):
            assert (await it.tell(it.event())).status_code == 200

        assert (await actions_of(it.context, invoice_id)).count("payment.surplus") == 1
        assert (await invoice_of(it.context, invoice_id)).status == "issued"


@both
async def test_another_amount_is_not_believed(live, clock, name):
    async with world(name, live, clock) as it:
        invoice_id, _ = await it.lost()
        await it.tell(it.event(amount=1))

        (payment,) = await payments_of(it.context, invoice_id)
        assert (payment.state, payment.code) == ("unknown", "amount_mismatch")
        assert (await invoice_of(it.context, invoice_id)).status == "issued"


@both
@pytest.mark.parametrize("attempt", ["00000000000040008000000000000000", "INV-17", ""])
async def test_events_of_others_are_passed_over(live, clock, name, attempt):
    async with world(name, live, clock) as it:
        invoice_id, _ = await it.lost()
        before = await payments_of(it.context, invoice_id)

        assert (await it.tell(it.event(attempt=attempt or "x"))).status_code == 200
        assert await payments_of(it.context, invoice_id) == before


async def test_other_things_that_stripe_tells_are_passed_over(live, clock):
    async with world("stripe", live, clock) as it:
        body = json.dumps({"type": "customer.created", "data": {"object": {"id": "cus_1"}}})
        assert (await it.tell(body.encode())).status_code == 200


@both
@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body.replace(b"15775", b"15774"),
        lambda body: body[:-2],
        lambda body: b"[]",
        lambda body: b"\xff",
        lambda body: b"",
    ],
)
async def test_what_is_not_signed_is_refused(live, clock, name, spoil):
    async with world(name, live, clock) as it:
        invoice_id, _ = await it.lost()
        before = await payments_of(it.context, invoice_id)
        body = it.event()
        headers = signature(body, clock.now) if name == "stripe" else {}

        answer = await it.tell(spoil(body), **headers)

        assert error_of(answer)[:2] == (403, "SIGNATURE_INVALID")
        assert await payments_of(it.context, invoice_id) == before


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=,v1=",
        "t=1,v1=é",
        "v1=" + "0" * 64,
        "t=99999999999999,v1=0",
        "t=1778414400",
    ],
)
async def test_a_header_that_proves_nothing_is_refused(live, clock, header):
    async with world("stripe", live, clock) as it:
        await it.lost()
        raw = {"Stripe-Signature": header.encode()}
        assert error_of(await it.tell(it.event(), **raw))[:2] == (403, "SIGNATURE_INVALID")


@pytest.mark.parametrize("away", [timedelta(minutes=6), timedelta(minutes=-6)])
async def test_an_old_signature_is_refused(live, clock, away):
    async with world("stripe", live, clock) as it:
        await it.lost()
        body = it.event()
        answer = await it.tell(body, **signature(body, clock.now + away))
        assert error_of(answer)[:2] == (403, "SIGNATURE_INVALID")


@both
async def test_without_a_secret_there_is_no_webhook(live, clock, name):
    async with world(name, live, clock, secrets={}) as it:
        await it.lost()
        assert error_of(await it.tell(it.event()))[:2] == (404, "NOT_FOUND")


async def test_who_is_not_enabled_or_does_not_tell_has_none(live, clock):
    async with api(make_context(live, clock)) as client:
        for name in ("sandbox", "stripe", "%00", "x" * 300):
            answer = await client.post(f"/v1/webhooks/{name}", json={})
            assert answer.status_code in (404, 422)


async def test_a_body_beyond_the_bound_is_refused(live, clock):
    async with world("stripe", live, clock) as it:
        answer = await it.tell(b" " * (2 << 20))
        assert error_of(answer)[:2] == (413, "BODY_TOO_LARGE")


class Telling(Remembering):
    """Tells whatever it is told to, or raises it."""

    def __init__(self, told):
        super().__init__(lost=1)
        self.capabilities = type(self.capabilities)(
            idempotency_ttl_s=0, fetch=False, find=False, webhook=True
        )
        self.told = told

    def parse_webhook(self, headers, body, *, now):
        if isinstance(self.told, Exception):
            raise self.told
        return self.told(next(iter(self.attempts)))


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (ValueError("a bug of the plugin's"), 403),
        (lambda attempt: [ProviderEvent(attempt_id=attempt, outcome=None)], 200),
        (lambda attempt: [ProviderEvent(attempt_id=attempt, outcome={"status": "paid"})], 200),
    ],
)
async def test_a_plugin_that_babbles_settles_nothing(live, clock, told, status):
    provider = Telling(told)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    await charging.charge(context, ACTOR, invoice_id)
    async with api(context) as client:
        answer = await client.post("/v1/webhooks/sandbox", json={})

    assert answer.status_code == status
    assert (await payments_of(context, invoice_id))[0].state == "unknown"


async def test_under_another_account_nothing_is_believed(live, clock):
    async with world("stripe", live, clock) as it:
        invoice_id, _ = await it.lost()
        it.context.payment_providers["stripe"].account = "another"
        assert (await it.tell(it.event())).status_code == 200
        assert (await payments_of(it.context, invoice_id))[0].state == "unknown"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("stripe", {"STRIPE_WEBHOOK_SECRET": "hunter2"}),
        ("adyen", {"ADYEN_WEBHOOK_HMAC_KEY": "hunter2"}),
    ],
)
def test_a_malformed_secret_stops_the_start_by_name(name, wrong):
    with pytest.raises(ConfigurationError) as refused:
        load([name], {**ENVIRON, **wrong})
    (fault,) = refused.value.faults
    assert next(iter(wrong)) in fault
    assert "hunter2" not in fault
