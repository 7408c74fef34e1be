"""What ABAXUS knows, and what leaves: the database is full of words that are nowhere else, every
path to a provider is taken, and no word is in any byte that was sent but where it belongs.

What an invoice shows (SHOWN), its mail says, to its recipient; a payment provider never hears it.
The words of KEPT nobody hears. Words are looked for as they are, in hexadecimal and in base64.
"""

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pypdf
import pytest

from abaxus_core.conformance.mail_content import Leaf
from abaxus_core.errors import PaymentDeclined
from abaxus_core.kernel import plugin_manager
from abaxus_core.plugin.payments import ChargeRequest, RefundRequest
from abaxus_core.services import charging, mailing
from abaxus_core.services.work import perform
from tests.contract import test_email_conformance as services
from tests.fault.test_charging import look_after
from tests.fault.test_payment_providers import charging_with
from tests.support import provider_validation
from tests.support.api import Api, serving
from tests.support.collection import ACTOR, make_context, payments_of
from tests.support.mail_server import misbehaving, smtp_to
from tests.support.metering import land_all

NAME, CHARGE, ADDRESS = "QuaXname", "QuaXcharge", "quaxaddress"
SHOWN = {NAME, CHARGE, ADDRESS}
CUSTOMER, PLAN, METADATA, METADATA_KEY = "QuaXcustomer", "QuaXplan", "QuaXmeta", "QuaXmetakey"
PROPERTY, PROPERTY_KEY, EVENT = "QuaXprop", "QuaXpropkey", "QuaXevent"
METRIC, ABOUT, OTHER, API_KEY = "QuaXmetric", "QuaXabout", "QuaXother", "QuaXapikey"
KEPT = {
    CUSTOMER, PLAN, METADATA, METADATA_KEY, PROPERTY, PROPERTY_KEY, EVENT, METRIC, ABOUT, OTHER,
    API_KEY,
}  # fmt: skip
METERED = {"pricing_model": "per_unit", "metric_key": "calls", "unit_price": "0.5"}
METHODS: Mapping[str, tuple[str, ...]] = {
    "stripe": ("pm_card_visa", "pm_processing", "pm_card_chargeCustomerFail"),
    "adyen": ("8415718415172204", "PENDING", "REFUSED_12"),
}
PDF_IN_BASE64 = base64.b64encode(b"%PDF-1").decode()[:6]
HTTP_SENDERS = (
    services.TestSendGrid,
    services.TestPostmark,
    services.TestMailgun,
    services.TestSes,
    services.TestResend,
)


@dataclass(frozen=True)
class Nest:
    """An installation that has a word in everything that can hold one."""

    api: Api
    secret: str

    async def post(self, path: str, body: object) -> dict[str, Any]:
        answer = await self.api.client.post(f"/v1{path}", json=body)
        assert answer.is_success, answer.text
        said: dict[str, Any] = answer.json()
        return said

    async def furnish(self) -> None:
        metric = {"key": "calls", "name": METRIC, "description": ABOUT, "aggregation": "sum"}
        fee = {"pricing_model": "flat_fee", "amount": "49.00", "description": CHARGE}
        plan = {"id": PLAN, "name": "Growth", "currency": "usd", "billing_period": "monthly"}
        await self.post("/metrics", metric)
        await self.post("/price-plans", {**plan, "charges": [fee, {**METERED, "description": "C"}]})
        await self.post("/api-keys", {"name": API_KEY, "scopes": ["read"]})
        await self.post("/customers", {"id": "other", "name": OTHER})

    async def invoice(self, number: int, method: str = "pm_card_visa") -> str:
        """The id of an invoice of a new customer, number `number`."""
        customer_id = f"{CUSTOMER}-{number}"
        mean = {"provider_customer_id": f"cus_{number}", "provider_payment_method": method}
        customer = {
            "id": customer_id,
            "name": NAME,
            "email": f"{ADDRESS}@customer.example",
            "metadata": {METADATA_KEY: METADATA},
            "payment_method": mean,
        }
        event = {
            "customer_id": customer_id,
            "metric_key": "calls",
            "value": "217.5",
            "timestamp": "2026-04-20T12:00:00Z",
            "idempotency_key": f"{EVENT}-{number}",
            "properties": {PROPERTY_KEY: PROPERTY},
        }
        terms = {"customer_id": customer_id, "plan_id": PLAN, "start_date": "2026-04-01"}
        await self.post("/customers", customer)
        await self.post("/subscriptions", terms)
        await self.post("/events", event)
        await land_all(self.api.contexts["live"])
        asked = {"customer_id": customer_id, "cutoff_date": "2026-04-30"}
        issued = await self.post("/invoices", asked)
        assert issued["total_amount"] == 15775
        return str(issued["id"])

    def heard_in(self, said: Iterable[bytes]) -> set[str]:
        """Which words, and whether our own key, are in the bytes."""
        everything = b"\n".join(said).lower()
        words = {*SHOWN, *KEPT, self.secret}
        return {word for word in words if any(form in everything for form in _forms(word))}


def _forms(word: str) -> set[bytes]:
    raw = word.encode()
    return {one.lower() for one in (raw, raw.hex().encode(), *map(_in_base64(raw), range(3)))}


def _in_base64(raw: bytes) -> Callable[[int], bytes]:
    """What is sure to be there of `raw` when it follows so many bytes modulo 3."""

    def at(shift: int) -> bytes:
        text = b"\0" * shift + raw
        return base64.b64encode(text[: len(text) // 3 * 3])[shift + 1 if shift else 0 :]

    return at


@pytest.fixture
async def nest(databases, clock):
    async with serving(databases, clock) as api:
        furnished = Nest(api, api.client.headers["Authorization"].removeprefix("Bearer "))
        await furnished.furnish()
        yield furnished


def test_a_word_is_found_however_it_is_wrapped(nest: Nest) -> None:
    """The negative control."""
    for before in ("", "x", "xy"):
        wrapped = base64.b64encode(f"{before}{METADATA} and more".encode())
        assert nest.heard_in([b"other", wrapped]) == {METADATA}
    assert nest.heard_in([METADATA.upper().encode()]) == {METADATA}
    assert nest.heard_in([METADATA.encode().hex().encode()]) == {METADATA}
    assert nest.heard_in([b"Bearer " + nest.secret.encode()]) == {nest.secret}


@pytest.mark.parametrize("name", METHODS)
async def test_a_payment_provider_hears_of_an_amount_and_its_own_ids(nest, live, clock, name):
    async with charging_with(name, live, clock) as (context, fake):
        at_once, later, never = METHODS[name]
        paid = await nest.invoice(1, at_once)
        assert (await charging.charge(context, ACTOR, paid)).settled
        pending = await nest.invoice(2, later)
        assert not (await charging.charge(context, ACTOR, pending)).settled
        await _follow_up(context, clock, pending, 2)
        with pytest.raises(PaymentDeclined):
            await charging.charge(context, ACTOR, await nest.invoice(3, never))
        for number, faults in enumerate((["lose"], ["lose"] * 4, ["error_after"]), start=4):
            fake.faults.extend(faults)
            lost = await nest.invoice(number, at_once)
            await charging.charge(context, ACTOR, lost)
            await _follow_up(context, clock, lost, 8)
            fake.faults.clear()
        await _the_rest(context.payment_providers[name], await payments_of(context, paid))

        said = [b"\n".join(_pieces(heard)) for heard in fake.heard]
        taken = {provider_validation.route(name, *_target(fake, heard)) for heard in fake.heard}
        assert taken == set(provider_validation.schemas(name))
    assert nest.heard_in(said) == set()
    assert b"15775" in said[0]


async def _follow_up(context, clock, invoice_id: str, times: int) -> None:
    """What the worker does of itself, until it waits for an operator or is done."""
    for _ in range(times):
        payment = (await payments_of(context, invoice_id))[-1]
        if payment.next_check_at is None:
            return
        clock.advance(max(payment.next_check_at - clock.now, timedelta(0)))
        await look_after(context)


async def _the_rest(provider, payments) -> None:
    """What the core does not call yet."""
    (payment,) = payments
    charge = ChargeRequest(
        attempt_id=payment.attempt_id,
        amount=Decimal("157.75"),
        currency="USD",
        customer_ref="cus_1",
        payment_method_ref="pm_1_card",
    )
    frozen = provider.prepare(charge)
    for reference in (payment.provider_payment_id, None):
        await provider.cancel(frozen, "key-2", provider_ref=reference)
    refund = RefundRequest(
        refund_id=UUID(int=9),
        provider_ref=payment.provider_payment_id,
        amount=Decimal("57.75"),
        currency="USD",
    )
    back = provider.prepare_refund(refund)
    refunded = await provider.refund(back, "key-1", replay=False)
    await provider.fetch_refund(refunded.provider_ref, back)
    await provider.validate()


def _target(fake, heard) -> tuple[str, str]:
    return heard.method, fake.route(heard.path)


def _pieces(heard) -> list[bytes]:
    headers = [f"{name}: {value}".encode() for name, value in heard.headers.items()]
    return [heard.method.encode(), heard.path.encode(), heard.query.encode(), *headers, heard.body]


@pytest.mark.parametrize("contract", HTTP_SENDERS, ids=lambda one: one.descriptor.name)
async def test_an_email_service_hears_what_the_invoice_shows(nest, live, clock, contract):
    async with contract().opened() as bench:
        bench.service.will("accept")
        await _mail(nest, live, clock, bench.sender)
        (delivered,) = bench.service.delivered
        texts = [f"{leaf.path} {leaf.text}".encode() for leaf in delivered.leaves()]
        headers = [f"{name}: {value}".encode() for name, value in delivered.headers.items()]
    assert nest.heard_in(texts) == SHOWN
    (said, metadata) = _attached(delivered.leaves())
    assert nest.heard_in([said]) == {*SHOWN, CUSTOMER}  # a customer is asked for by its number
    assert nest.heard_in([metadata]) == set()
    assert nest.heard_in([delivered.body, *headers]) <= SHOWN
    assert nest.heard_in(headers) == set()


def _attached(leaves: Iterable[Leaf]) -> tuple[bytes, bytes]:
    """What the invoice's PDF shows, and what it says of itself."""
    encoded = [leaf.text for leaf in leaves if leaf.text.startswith(PDF_IN_BASE64)]
    (pdf,) = {base64.b64decode(text) for text in encoded}
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    said = "\n".join(page.extract_text() for page in reader.pages)
    xmp = reader.xmp_metadata
    about = [str(reader.metadata), "" if xmp is None else str(xmp.stream.get_data())]
    return said.encode(), "\n".join(about).encode()


async def test_a_mail_server_hears_what_the_invoice_shows(nest, live, clock):
    async with misbehaving() as server:
        async with plugin_manager.opened(smtp_to(server.port)) as opened:
            await _mail(nest, live, clock, opened.email_senders["smtp"])
        assert nest.heard_in(server.said) == {ADDRESS}
        assert nest.heard_in(server.messages) == SHOWN


async def _mail(nest, live, clock, sender) -> None:
    context = make_context(live, clock, sender=sender)
    invoice_id = await nest.invoice(1)
    mail = await perform(context, ACTOR, lambda work: mailing.send(context, work, invoice_id))
    await mailing.deliver(context, mail.id)
