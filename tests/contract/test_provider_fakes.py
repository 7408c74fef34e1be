"""The fakes refuse what the providers would: requests that are not of the closed lists."""

import json

import httpx
import pytest

from tests.support.adyen_fake import AdyenFake
from tests.support.provider_validation import complaints, leaves, schemas, unflattened
from tests.support.providers import SPECS
from tests.support.stripe_fake import StripeFake

INTENT = {
    "amount": "15775",
    "currency": "usd",
    "customer": "cus_1",
    "payment_method": "pm_card_visa",
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
    "confirm": "true",
    "off_session": "true",
    "error_on_requires_action": "true",
    "metadata[abaxus_attempt_id]": "42f0182d-349a-4ae6-a538-dd47b2a83755",
}
HEADERS = {
    "Authorization": "Bearer sk_test_51Fake",
    "Stripe-Version": "2026-10-28.endive",
    "Idempotency-Key": "key-1",
}


async def asked(fake, fields, headers=HEADERS):
    async with httpx.AsyncClient() as client:
        return await client.post(f"{fake.url}/v1/payment_intents", data=fields, headers=headers)


async def test_a_key_is_remembered_and_no_other_body_goes_under_it():
    async with StripeFake() as fake:
        first = await asked(fake, INTENT)
        again = await asked(fake, INTENT)
        other = await asked(fake, {**INTENT, "amount": "1"})

    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    assert len(fake.charges) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "for our best customer"},
        {"metadata[invoice]": "inv_1"},
        {"amount": "157.75"},
        {"currency": "USD"},
        {"customer": "acme"},
        {"expand[]": "customer"},
        {"off_session": "false"},
    ],
)
async def test_a_field_too_many_or_wrong_is_a_complaint(changes):
    fake = StripeFake()
    with pytest.raises(AssertionError, match="payment_intents"):
        async with fake:
            assert (await asked(fake, {**INTENT, **changes})).status_code == 400
    assert fake.charges == []


async def test_a_header_too_many_is_a_complaint():
    fake = AdyenFake()
    with pytest.raises(AssertionError, match="x-telemetry"):
        async with fake, httpx.AsyncClient() as client:
            await client.post(
                f"{fake.url}/v72/paymentMethods",
                json={"merchantAccount": "AcmeECOM"},
                headers={"X-Telemetry": "1"},
            )


@pytest.mark.skipif(not SPECS.exists(), reason="the published documents are not here")
def test_the_published_documents_are_asked_too():
    said = unflattened([*INTENT.items(), ("invented", "1")], {})
    known = "POST /v1/payment_intents"
    assert {one.split(":")[0] for one in complaints("stripe", known, said)} == {
        "ours",
        "stripe-2026-10-28.endive",
        "stripe-official-2023-08-16",
    }
    adyen = complaints("adyen", "POST /payments", {"invented": 1})
    assert {one.split(":")[0] for one in adyen} == {"ours", "adyen-checkout-v72"}


@pytest.mark.skipif(not SPECS.exists(), reason="the allow-list is not here")
def test_our_schemas_let_no_field_through_that_is_not_allowed():
    allowed = json.loads((SPECS / "egress-allowlist.json").read_text())
    # Constants of ours that the list, which has the field they replaced, does not know.
    ours = {"automatic_payment_methods.enabled", "automatic_payment_methods.allow_redirects"}
    for provider in ("stripe", "adyen"):
        for call, schema in schemas(provider).items():
            listed = allowed[provider].get(call.replace("/payments/{id}", "/payments/{psp}"))
            if listed is not None:
                names = {name.rstrip("?") for name in listed}
                assert set(leaves(schema)) - names - ours == set(), call
