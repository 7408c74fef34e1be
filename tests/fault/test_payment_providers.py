"""Charging through Stripe and Adyen while they, or the way to them, break: money moves once, the
invoice says what is known, and nothing is sent that they would not take.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import get_args

import pytest

from abaxus_core.domain import payments as domain
from abaxus_core.errors import Conflict, InvalidInput, PaymentDeclined, ProviderUnavailable
from abaxus_core.services import charging
from tests.fault.test_charging import look_after
from tests.support.adyen_fake import AdyenFake
from tests.support.collection import ACTOR, invoice_of, make_context, make_invoice, payments_of
from tests.support.provider_fake import Fault, ProviderFake
from tests.support.providers import opened, redirected
from tests.support.stripe_fake import RATE_LIMIT_S, StripeFake

ENVIRON = {
    "STRIPE_SECRET_KEY": "sk_test_51Fake",
    "ADYEN_API_KEY": "AQEfake-key",
    "ADYEN_MERCHANT_ACCOUNT": "AcmeECOM",
}
FAKES: Mapping[str, tuple[type[ProviderFake], str, str]] = {
    "stripe": (StripeFake, "api.stripe.com", "pm_card_visa"),
    "adyen": (AdyenFake, "checkout-test.adyen.com", "8415718415172204"),
}
HOURS = timedelta(hours=1)

both = pytest.mark.parametrize("name", FAKES)


@asynccontextmanager
async def charging_with(name, live, clock) -> AsyncIterator[tuple[object, ProviderFake]]:
    """A context that charges through the plugin, and the fake at its other end."""
    kind, host, _ = FAKES[name]
    async with (
        kind(clock) as fake,
        opened([name], ENVIRON, redirected({host: fake.url}, timeout_s=0.3)) as providers,
    ):
        yield make_context(live, clock, providers=providers, default=name), fake


async def settled(context, clock, invoice_id, *, waits=12):
    """The last attempt after the worker had its time."""
    for _ in range(waits):
        payment = (await payments_of(context, invoice_id))[-1]
        if payment.state in domain.FINAL:
            break
        clock.advance(max(payment.next_check_at - clock.now, timedelta(0)))
        await look_after(context)
    return (await payments_of(context, invoice_id))[-1]


def moved_once(fake: ProviderFake) -> bool:
    return len(fake.charges) == 1 and set(Counter(c.key for c in fake.charges).values()) == {1}


@both
async def test_a_charge_is_paid(live, clock, name):
    async with charging_with(name, live, clock) as (context, fake):
        invoice_id = await make_invoice(live, clock.now, method=FAKES[name][2])
        result = await charging.charge(context, ACTOR, invoice_id)

        assert result.settled
        (charge,) = fake.charges
        assert (charge.amount, charge.currency.upper()) == (15775, "USD")
        payment = (await payments_of(context, invoice_id))[0]
        assert payment.provider_payment_id == charge.payment_id
        assert charge.key == str(payment.idempotency_key)
        assert charge.reference.replace("-", "") == payment.attempt_id.hex
        assert (await invoice_of(context, invoice_id)).status == "paid"


RESOLVED_BY_REPEATING = (
    "drop",
    "key_in_use",
    "lose",
    "hang",
    "half",
    "garbage",
    "redirect",
)


@both
@pytest.mark.parametrize("fault", RESOLVED_BY_REPEATING)
async def test_what_is_not_known_is_found_out_by_repeating(live, clock, name, fault):
    async with charging_with(name, live, clock) as (context, fake):
        fake.faults.append(fault)
        invoice_id = await make_invoice(live, clock.now, method=FAKES[name][2])
        result = await charging.charge(context, ACTOR, invoice_id)

        assert result.payment.state == "unknown"
        assert (await invoice_of(context, invoice_id)).payment_status == "unknown"
        payment = await settled(context, clock, invoice_id)
        assert (payment.state, payment.sends) == ("succeeded", 2)
        assert (await invoice_of(context, invoice_id)).status == "paid"
        assert moved_once(fake)
        bodies = {heard.body for heard in fake.heard if heard.key}
        keys = {heard.key for heard in fake.heard if heard.key}
        assert (len(bodies), len(keys)) == (1, 1)


@both
async def test_a_failure_on_every_repeat_still_charges_once(live, clock, name):
    async with charging_with(name, live, clock) as (context, fake):
        fake.faults.extend(["drop", "lose", "rate_limited", "bad_credentials", "half"])
        invoice_id = await make_invoice(live, clock.now, method=FAKES[name][2])
        await charging.charge(context, ACTOR, invoice_id)

        payment = await settled(context, clock, invoice_id)
        assert payment.state == "succeeded"
        assert moved_once(fake)


@both
async def test_too_many_requests_were_never_sent(live, clock, name):
    async with charging_with(name, live, clock) as (context, fake):
        fake.faults.append("rate_limited")
        invoice_id = await make_invoice(live, clock.now, method=FAKES[name][2])
        with pytest.raises(ProviderUnavailable) as refused:
            await charging.charge(context, ACTOR, invoice_id)
        assert refused.value.retry_after_s == {"stripe": RATE_LIMIT_S, "adyen": None}[name]
        assert (await invoice_of(context, invoice_id)).payment_status == "failed"
        clock.advance(timedelta(seconds=RATE_LIMIT_S))
        assert (await charging.charge(context, ACTOR, invoice_id)).settled

        assert moved_once(fake)
        assert len({heard.key for heard in fake.heard}) == 1


@both
async def test_wrong_credentials_are_a_refusal(live, clock, name):
    async with charging_with(name, live, clock) as (context, fake):
        fake.faults.append("bad_credentials")
        invoice_id = await make_invoice(live, clock.now, method=FAKES[name][2])
        with pytest.raises(InvalidInput) as refused:
            await charging.charge(context, ACTOR, invoice_id)

        assert refused.value.code == "PAYMENT_REJECTED"
        assert (await charging.charge(context, ACTOR, invoice_id)).settled
        assert len({heard.key for heard in fake.heard}) == 2


@both
async def test_another_amount_does_not_pay_the_invoice(live, clock, name):
    async with charging_with(name, live, clock) as (context, fake):
        fake.faults.append("wrong_amount")
        invoice_id = await make_invoice(live, clock.now, method=FAKES[name][2])
        result = await charging.charge(context, ACTOR, invoice_id)

        assert (result.payment.state, result.payment.code) == ("unknown", "amount_mismatch")
        assert (await invoice_of(context, invoice_id)).status == "issued"
        assert moved_once(fake)


@pytest.mark.parametrize(("fault", "charges"), [("error_after", 1), ("error_before", 0)])
async def test_a_kept_error_of_stripes_is_looked_up(live, clock, fault, charges):
    async with charging_with("stripe", live, clock) as (context, fake):
        fake.faults.append(fault)
        invoice_id = await make_invoice(live, clock.now, method="pm_card_visa")
        await charging.charge(context, ACTOR, invoice_id)
        payment = await settled(context, clock, invoice_id, waits=40)

        assert payment.state == ("succeeded" if charges else "not_charged")
        assert len(fake.charges) == charges
        if not charges:
            assert clock.now >= payment.first_sent_at + 25 * HOURS
            assert (await charging.charge(context, ACTOR, invoice_id)).settled
            assert moved_once(fake)


@pytest.mark.parametrize("fault", ["error_after", "error_before"])
async def test_a_kept_error_of_adyens_is_an_operators(live, clock, fault):
    async with charging_with("adyen", live, clock) as (context, fake):
        fake.faults.append(fault)
        invoice_id = await make_invoice(live, clock.now, method="8415718415172204")
        await charging.charge(context, ACTOR, invoice_id)
        sends_before = 0
        for _ in range(domain.CHECKS_MAX + 3):
            payment = (await payments_of(context, invoice_id))[-1]
            if payment.state == "needs_operator":
                break
            clock.advance(payment.next_check_at - clock.now)
            await look_after(context)
            sends_before = payment.sends

        assert payment.state == "needs_operator"
        assert payment.sends == sends_before
        assert payment.last_sent_at < payment.first_sent_at + timedelta(days=7) * 95 / 100
        assert len(fake.charges) == (fault == "error_after")


@both
async def test_unavailable_is_paid_in_the_end(live, clock, name):
    async with charging_with(name, live, clock) as (context, fake):
        fake.faults.append("unavailable")
        invoice_id = await make_invoice(live, clock.now, method=FAKES[name][2])
        if name == "stripe":
            assert not (await charging.charge(context, ACTOR, invoice_id)).settled
            assert (await settled(context, clock, invoice_id)).state == "succeeded"
        else:  # Adyen promises that nothing ran
            with pytest.raises(ProviderUnavailable):
                await charging.charge(context, ACTOR, invoice_id)
            assert (await charging.charge(context, ACTOR, invoice_id)).settled
        assert moved_once(fake)


@pytest.mark.parametrize(
    ("name", "method", "code", "retry"),
    [
        ("stripe", "pm_card_chargeCustomerFail", "generic_decline", "later"),
        ("stripe", "pm_card_visa_chargeDeclinedLostCard", "lost_card", "never"),
        ("stripe", "pm_card_chargeDeclinedExpiredCard", "expired_card", "new_instrument"),
        ("adyen", "REFUSED_12", "insufficient_funds", "later"),
        ("adyen", "REFUSED_6", "expired_card", "new_instrument"),
        ("adyen", "REFUSED_46", "blocked_by_adyen", "never"),
        ("adyen", "ERROR", "provider_error", "later"),
    ],
)
async def test_declines(live, clock, name, method, code, retry):
    async with charging_with(name, live, clock) as (context, fake):
        invoice_id = await make_invoice(live, clock.now, method=method)
        for attempts in (1, 2):
            with pytest.raises(PaymentDeclined) as declined:
                await charging.charge(context, ACTOR, invoice_id)
            assert (declined.value.details["code"], declined.value.details["retry"]) == (
                code,
                retry,
            )
            assert len({heard.key for heard in fake.heard}) == attempts
        assert fake.charges == []


@both
async def test_a_decline_whose_answer_got_lost_is_a_decline(live, clock, name):
    method = {"stripe": "pm_card_chargeCustomerFail", "adyen": "REFUSED_12"}[name]
    async with charging_with(name, live, clock) as (context, fake):
        fake.faults.append("lose")
        invoice_id = await make_invoice(live, clock.now, method=method)
        assert (await charging.charge(context, ACTOR, invoice_id)).payment.state == "unknown"
        assert (await settled(context, clock, invoice_id)).state == "declined"


async def test_stripes_slow_methods_are_looked_up(live, clock):
    async with charging_with("stripe", live, clock) as (context, fake):
        invoice_id = await make_invoice(live, clock.now, method="pm_processing")
        result = await charging.charge(context, ACTOR, invoice_id)
        assert result.payment.state == "pending"
        assert (await settled(context, clock, invoice_id)).state == "succeeded"
        assert moved_once(fake)


@pytest.mark.parametrize(
    ("name", "method", "state", "later"),
    [
        ("stripe", "pm_card_authenticationRequired", "requires_action", "requires_action"),
        ("adyen", "REDIRECT", "requires_action", "needs_operator"),
        ("adyen", "PENDING", "pending", "needs_operator"),
        ("adyen", "PARTIAL", "unknown", "unknown"),
    ],
)
async def test_what_stays_open_blocks_a_second_attempt(live, clock, name, method, state, later):
    async with charging_with(name, live, clock) as (context, fake):
        invoice_id = await make_invoice(live, clock.now, method=method)
        assert (await charging.charge(context, ACTOR, invoice_id)).payment.state == state
        clock.advance(domain.CHECK_DELAYS[0])
        await look_after(context)
        assert (await payments_of(context, invoice_id))[0].state == later
        with pytest.raises(Conflict):
            await charging.charge(context, ACTOR, invoice_id)
        assert len({heard.key for heard in fake.heard if heard.key}) == 1


@pytest.mark.parametrize("name", ["stripe"])
async def test_a_customer_whom_stripe_does_not_know(live, clock, name):
    async with charging_with(name, live, clock) as (context, _):
        invoice_id = await make_invoice(live, clock.now, method="pm_card_visa")
        async with context.database.connection() as conn:
            await conn.execute("UPDATE customers SET provider_customer_id = 'cus_missing'")
        with pytest.raises(InvalidInput) as refused:
            await charging.charge(context, ACTOR, invoice_id)
        assert refused.value.details["provider_code"] == "resource_missing"


async def test_nobody_listens_at_all(live, clock):
    addresses = {"api.stripe.com": "http://127.0.0.1:1"}
    async with opened(["stripe"], ENVIRON, redirected(addresses)) as providers:
        context = make_context(live, clock, providers=providers, default="stripe")
        invoice_id = await make_invoice(live, clock.now, method="pm_card_visa")
        with pytest.raises(ProviderUnavailable):
            await charging.charge(context, ACTOR, invoice_id)
        assert (await payments_of(context, invoice_id))[0].state == "transient"


def test_every_fault_is_tried():
    tried = {
        *RESOLVED_BY_REPEATING,
        "rate_limited",
        "bad_credentials",
        "wrong_amount",
        "unavailable",
        "error_before",
        "error_after",
        "hold",
    }
    assert tried == set(get_args(Fault))
