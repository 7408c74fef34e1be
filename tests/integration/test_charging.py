"""Charging against a real PostgreSQL: every outcome, once each, and what becomes of the invoice."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from abaxus_core.domain import payments as domain
from abaxus_core.errors import (
    AbaxusError,
    ChargesPaused,
    Conflict,
    IllegalTransition,
    InvalidInput,
    NotFound,
    PaymentDeclined,
    ProviderUnavailable,
)
from abaxus_core.plugin.payments import Outcome
from abaxus_core.repositories import customers, invoices
from abaxus_core.repositories import payments as repository
from abaxus_core.services import attempts, charging, collection, payments
from abaxus_core.services.attempts import Attempt
from abaxus_core.services.jobs import CollectInvoice
from abaxus_core.services.work import perform
from tests.support.collection import (
    ACTOR,
    Remembering,
    Sent,
    actions_of,
    invoice_of,
    make_context,
    make_invoice,
    payments_of,
)
from tests.support.waiting import eventually

DAY = timedelta(days=1)


async def use_method(context, method):
    async def change(conn):
        customer = await customers.get(conn, "acme")
        payment_method = msgspec.structs.replace(
            customer.payment_method, provider_payment_method=method
        )
        await customers.update(
            conn, msgspec.structs.replace(customer, payment_method=payment_method)
        )

    await context.database.transaction(change)


async def resolve_all(context, clock, invoice_id):
    """Let time pass and look after the live payment, once."""
    due = [one for one in await payments_of(context, invoice_id) if one.next_check_at is not None]
    for payment in due:
        clock.set(max(clock.now, payment.next_check_at))
        await charging.resolve(context, payment.id)


async def test_ok_pays_the_invoice(live, clock):
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now)

    result = await charging.charge(context, ACTOR, invoice_id)

    assert result.settled
    assert result.payment.amount_minor == 15775
    assert result.payment.provider_payment_id == f"sbx_{result.payment.attempt_id.hex}"
    invoice = await invoice_of(context, invoice_id)
    assert (invoice.status, invoice.payment_status) == ("paid", "succeeded")
    assert invoice.paid_at == clock.now
    assert await actions_of(context, invoice_id) == ["payment.created", "invoice.paid"]


@pytest.mark.parametrize(
    ("method", "code", "retry"),
    [
        ("pm_declined", "declined", "later"),
        ("pm_insufficient_funds", "insufficient_funds", "later"),
        ("pm_expired", "expired", "new_instrument"),
        ("pm_nonsense", "unknown_payment_method", "new_instrument"),
    ],
)
async def test_a_decline_leaves_the_invoice_issued_and_another_attempt_free(
    live, clock, method, code, retry
):
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now, method=method)

    with pytest.raises(PaymentDeclined) as declined:
        await charging.charge(context, ACTOR, invoice_id)

    assert declined.value.code == "PAYMENT_DECLINED"
    assert declined.value.details == {
        "provider": "sandbox",
        "code": code,
        "provider_code": code,
        "retry": retry,
    }
    invoice = await invoice_of(context, invoice_id)
    assert (invoice.status, invoice.payment_status) == ("issued", "failed")
    assert await actions_of(context, invoice_id) == ["payment.created", "payment.declined"]

    await use_method(context, "pm_ok")
    assert (await charging.charge(context, ACTOR, invoice_id)).settled
    first, second = await payments_of(context, invoice_id)
    assert (first.state, second.state) == ("declined", "succeeded")
    assert first.idempotency_key != second.idempotency_key


async def test_pending_is_looked_up_until_it_settles(live, clock):
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now, method="pm_pending")

    result = await charging.charge(context, ACTOR, invoice_id)

    assert not result.settled
    assert result.payment.state == "pending"
    assert (await invoice_of(context, invoice_id)).payment_status == "processing"
    with pytest.raises(Conflict) as refused:
        await charging.charge(context, ACTOR, invoice_id)
    assert refused.value.code == "CHARGE_IN_PROGRESS"

    await resolve_all(context, clock, invoice_id)
    assert (await invoice_of(context, invoice_id)).status == "paid"


async def test_requires_action_stays_until_the_payer_acts(live, clock):
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now, method="pm_requires_action")

    result = await charging.charge(context, ACTOR, invoice_id)
    await resolve_all(context, clock, invoice_id)

    assert result.payment.state == "requires_action"
    invoice = await invoice_of(context, invoice_id)
    assert (invoice.status, invoice.payment_status) == ("issued", "requires_action")
    assert await actions_of(context, invoice_id) == ["payment.created", "payment.requires_action"]


async def test_a_timeout_after_the_money_moved_is_found_never_repeated(live, clock):
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now, method="pm_timeout")

    result = await charging.charge(context, ACTOR, invoice_id)
    assert result.payment.state == "unknown"
    assert (await invoice_of(context, invoice_id)).payment_status == "unknown"

    await resolve_all(context, clock, invoice_id)
    assert (await invoice_of(context, invoice_id)).status == "paid"
    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.sends) == ("succeeded", 1)


async def test_a_lost_charge_closes_and_a_new_one_may_start(live, clock):
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now, method="pm_lost")

    await charging.charge(context, ACTOR, invoice_id)
    await resolve_all(context, clock, invoice_id)

    (payment,) = await payments_of(context, invoice_id)
    assert payment.state == "not_charged"
    assert (await invoice_of(context, invoice_id)).payment_status == "failed"
    assert (await actions_of(context, invoice_id))[-1] == "payment.not_charged"
    await use_method(context, "pm_ok")
    assert (await charging.charge(context, ACTOR, invoice_id)).settled


async def test_a_provider_that_is_down_is_asked_again_under_the_same_key(live, clock):
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now, method="pm_down")

    for _ in range(2):
        with pytest.raises(ProviderUnavailable) as unavailable:
            await charging.charge(context, ACTOR, invoice_id)
        assert unavailable.value.code == "PROVIDER_UNAVAILABLE"

    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.sends, payment.maybe_executed) == ("transient", 2, False)

    await use_method(context, "pm_ok")
    assert (await charging.charge(context, ACTOR, invoice_id)).settled
    first, second = await payments_of(context, invoice_id)
    assert (first.state, second.state) == ("not_charged", "succeeded")


async def test_an_attempt_that_never_left_is_closed_when_nobody_asks_again(live, clock):
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now, method="pm_down")
    with pytest.raises(ProviderUnavailable):
        await charging.charge(context, ACTOR, invoice_id)

    await resolve_all(context, clock, invoice_id)

    (payment,) = await payments_of(context, invoice_id)
    assert payment.state == "not_charged"
    assert payment.settled_at - payment.created_at == domain.IDLE_MAX


async def test_nothing_to_pay_is_paid_without_a_call(live, clock):
    provider = Remembering()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now, total_minor=0, method=None)

    result = await charging.charge(context, ACTOR, invoice_id)

    assert result.settled
    assert result.payment is None
    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert provider.sent == []


async def test_paid_and_archived_invoices_are_not_charged(live, clock):
    context = make_context(live, clock)
    paid = await make_invoice(live, clock.now)
    await charging.charge(context, ACTOR, paid)
    archived = await make_invoice(live, clock.now, customer_id="other")
    await live.transaction(
        lambda conn: invoices.archive(conn, archived, at=clock.now, reason="mistake")
    )

    for invoice_id in (paid, archived):
        with pytest.raises(IllegalTransition) as refused:
            await charging.charge(context, ACTOR, invoice_id)
        assert refused.value.code == "INVALID_STATE"


@pytest.mark.parametrize(
    ("given", "default", "code", "field"),
    [
        ({"method": None}, "sandbox", "NO_PAYMENT_METHOD", "payment_method"),
        ({"provider": "stripe"}, "sandbox", "PROVIDER_NOT_ENABLED", "billing.provider"),
        ({}, None, "PROVIDER_NOT_ENABLED", "billing.provider"),
        (
            {"method": "4242 4242 4242 4242"},
            "sandbox",
            "VALIDATION_FAILED",
            "payment_method.provider_payment_method",
        ),
    ],
)
async def test_what_cannot_be_charged_is_refused_before_an_attempt(
    live, clock, given, default, code, field
):
    context = make_context(live, clock, default=default)
    invoice_id = await make_invoice(live, clock.now, **given)

    with pytest.raises(InvalidInput) as refused:
        await charging.charge(context, ACTOR, invoice_id)

    assert (refused.value.code, refused.value.field) == (code, field)
    assert await payments_of(context, invoice_id) == []
    assert (await invoice_of(context, invoice_id)).payment_status is None


@pytest.mark.parametrize(
    ("method", "currency", "code"),
    [("pm_refused", "eur", "amount_not_exact"), ("pm_ok", "usd", "currency_not_supported")],
)
async def test_what_the_provider_can_never_take_is_rejected(live, clock, method, currency, code):
    provider = Remembering(currencies=frozenset({"EUR"}))
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now, method=method, currency=currency)

    with pytest.raises(InvalidInput) as refused:
        await charging.charge(context, ACTOR, invoice_id)

    assert refused.value.code == "PAYMENT_REJECTED"
    assert refused.value.details == {"provider": "sandbox", "code": code}
    assert provider.sent == []


async def test_there_is_no_such_invoice(live, clock):
    with pytest.raises(NotFound) as missing:
        await charging.charge(make_context(live, clock), ACTOR, "inv_none")
    assert missing.value.code == "INVOICE_NOT_FOUND"


async def test_in_test_mode_the_stand_in_serves_whatever_provider_is_named(databases, clock):
    context = make_context(databases.test, clock)
    invoice_id = await make_invoice(databases.test, clock.now, provider="stripe")

    result = await charging.charge(context, ACTOR, invoice_id)

    assert result.payment.provider == "sandbox"


async def test_only_amount_currency_and_the_providers_own_ids_leave(live, clock):
    provider = Remembering()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now, currency="jpy", total_minor=500)

    await charging.charge(context, ACTOR, invoice_id)

    (sent,) = provider.sent
    (payment,) = await payments_of(context, invoice_id)
    assert msgspec.json.decode(sent.request.body) == {
        "attempt_id": str(payment.attempt_id),
        "amount": "500",
        "currency": "JPY",
        "customer_ref": "cus_1",
        "payment_method_ref": "pm_ok",
    }
    assert sent.key == str(payment.idempotency_key)


class Odd(Remembering):
    """Answers whatever it is told to."""

    def __init__(self, answer):
        super().__init__(ttl_s=0, fetch=False, find=False)
        self.answer = answer

    async def charge(self, request, key, *, replay):
        await super().charge(request, key, replay=replay)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (ValueError("half a body"), "plugin_error"),
        (None, "invalid_outcome"),
        ({"status": "succeeded"}, "invalid_outcome"),
        (Outcome(status="paid"), "invalid_outcome"),
        (Outcome(status="succeeded", provider_ref=17), "invalid_outcome"),
        (Outcome(status="succeeded", provider_ref="\ud800"), "invalid_outcome"),
        (Outcome(status="succeeded"), "no_reference"),
        (Outcome(status="pending"), "no_reference"),
        (Outcome(status="pending", provider_ref="x" * 256), "no_reference"),
        (Outcome(status="succeeded", provider_ref="ch_1"), "amount_mismatch"),
        (
            Outcome(
                status="succeeded",
                provider_ref="ch_1",
                echoed_amount="15775",
                echoed_currency="USD",
            ),
            "amount_mismatch",
        ),
        (
            Outcome(
                status="succeeded",
                provider_ref="ch_1",
                echoed_amount="157.75",
                echoed_currency="CAD",
            ),
            "amount_mismatch",
        ),
    ],
)
async def test_an_answer_that_makes_no_sense_is_unknown(live, clock, answer, code):
    context = make_context(live, clock, providers={"sandbox": Odd(answer)})
    invoice_id = await make_invoice(live, clock.now)

    result = await charging.charge(context, ACTOR, invoice_id)

    assert (result.payment.state, result.payment.code) == ("unknown", code)
    assert (await invoice_of(context, invoice_id)).payment_status == "unknown"


async def test_long_and_unstorable_words_of_a_provider_are_cut(live, clock):
    outcome = Outcome(status="declined", code="c\0" * 200, detail="d" * 1000)
    context = make_context(live, clock, providers={"sandbox": Odd(outcome)})
    invoice_id = await make_invoice(live, clock.now)

    with pytest.raises(PaymentDeclined) as declined:
        await charging.charge(context, ACTOR, invoice_id)

    assert declined.value.details["code"] == "c" * 100


async def test_a_rejected_request_leaves_another_attempt_free(live, clock):
    outcome = Outcome(status="rejected", code="bad_key", provider_code="401")
    context = make_context(live, clock, providers={"sandbox": Odd(outcome)})
    invoice_id = await make_invoice(live, clock.now)

    for _ in range(2):
        with pytest.raises(InvalidInput) as rejected:
            await charging.charge(context, ACTOR, invoice_id)
        assert rejected.value.code == "PAYMENT_REJECTED"
    assert [one.state for one in await payments_of(context, invoice_id)] == ["rejected"] * 2


async def test_a_lost_answer_is_asked_for_again_with_the_same_key_and_bytes(live, clock):
    provider = Remembering(lost=2)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)

    await charging.charge(context, ACTOR, invoice_id)
    await use_method(context, "pm_changed_meanwhile")
    for _ in range(2):
        await resolve_all(context, clock, invoice_id)

    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert len(provider.charged) == 1
    assert len({(one.key, one.request) for one in provider.sent}) == 1
    assert [one.replay for one in provider.sent] == [False, True, True]
    assert provider.finds == 0


async def test_when_replays_bring_nothing_it_is_looked_up(live, clock):
    provider = Remembering(lost=100)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)

    await charging.charge(context, ACTOR, invoice_id)
    for _ in range(charging.REPLAYS_FIRST + 1):
        await resolve_all(context, clock, invoice_id)

    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert (len(provider.sent), provider.finds) == (1 + charging.REPLAYS_FIRST, 1)


async def test_a_key_that_may_be_forgotten_is_never_repeated(live, clock):
    provider = Remembering(lost=100, find=False)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)

    await charging.charge(context, ACTOR, invoice_id)
    for _ in range(domain.CHECKS_MAX + 1):
        await resolve_all(context, clock, invoice_id)

    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.code) == ("needs_operator", "nothing_left_to_ask")
    assert clock.now - payment.first_sent_at < 2 * DAY, "there is nothing to wait for"
    assert payment.last_sent_at - payment.first_sent_at < DAY * 95 / 100
    assert (await invoice_of(context, invoice_id)).payment_status == "unknown"
    assert (await actions_of(context, invoice_id))[-1] == "payment.needs_operator"
    with pytest.raises(Conflict):
        await charging.charge(context, ACTOR, invoice_id)


async def test_under_another_account_nothing_is_repeated_and_an_operator_is_asked(live, clock):
    provider = Remembering(lost=1)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    lost = (await charging.charge(context, ACTOR, invoice_id)).payment

    provider.account = "acct_2"
    await resolve_all(context, clock, invoice_id)
    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.code) == ("needs_operator", "account_changed")
    assert (len(provider.sent), provider.finds) == (1, 0)

    provider.account = "acct_1"
    await perform(
        context, ACTOR, lambda work: payments.resolve(work, lost.id, "look_again", "key is back")
    )
    await resolve_all(context, clock, invoice_id)
    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert len({sent.key for sent in provider.sent}) == 1


async def test_a_provider_that_is_no_longer_enabled_leaves_its_payment_to_an_operator(live, clock):
    provider = Remembering(lost=1)
    enabled = {"sandbox": provider}
    context = make_context(live, clock, providers=enabled)
    invoice_id = await make_invoice(live, clock.now)
    await charging.charge(context, ACTOR, invoice_id)

    del enabled["sandbox"]
    await resolve_all(context, clock, invoice_id)

    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.code) == ("needs_operator", "provider_not_enabled")


async def test_a_sender_held_up_past_the_keys_life_does_not_send(live, clock):
    provider = Remembering(lost=1, find=False)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    lost = (await charging.charge(context, ACTOR, invoice_id)).payment
    async with live.connection() as conn:
        request = await repository.request(conn, lost.id)
    held_up = Attempt(payment=lost, provider=provider, request=request)

    clock.advance(DAY)
    assert await attempts.send(context, ACTOR, held_up) is None

    assert len(provider.sent) == 1
    await resolve_all(context, clock, invoice_id)
    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.code) == ("needs_operator", "nothing_left_to_ask")


async def test_a_sender_held_up_past_its_lease_leaves_the_send_to_who_takes_over(live, clock):
    provider = Remembering()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    started = iter([clock.now, clock.now])
    frozen = replace(context, clock=lambda: next(started, clock.now + domain.LEASE))

    with pytest.raises(Conflict):
        await charging.charge(frozen, ACTOR, invoice_id)
    assert provider.sent == []

    clock.advance(domain.LEASE)
    await resolve_all(context, clock, invoice_id)
    await resolve_all(context, clock, invoice_id)
    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert len(provider.sent) == 1


async def test_while_charges_are_paused_nothing_is_sent_and_answers_are_still_looked_up(
    live, clock
):
    provider = Remembering(lost=1)
    running = make_context(live, clock, providers={"sandbox": provider})
    paused = make_context(live, clock, providers={"sandbox": provider}, CHARGES_PAUSED="true")
    lost = await make_invoice(live, clock.now)
    fresh = await make_invoice(live, clock.now, customer_id="other")
    await charging.charge(running, ACTOR, lost)

    with pytest.raises(ChargesPaused):
        await charging.charge(paused, ACTOR, fresh)
    with pytest.raises(ChargesPaused):
        await collection.charge(paused, CollectInvoice(invoice_id=fresh, actor=ACTOR))
    (before,) = await payments_of(paused, lost)
    await resolve_all(paused, clock, lost)
    assert await payments_of(paused, lost) == [before]
    assert (len(provider.sent), await payments_of(paused, fresh)) == (1, [])

    clock.advance(DAY)
    await resolve_all(paused, clock, lost)
    assert (await invoice_of(paused, lost)).status == "paid"
    assert (len(provider.sent), provider.finds) == (1, 1)


class Limiting(Remembering):
    """Asks to be left alone, the first time."""

    async def charge(self, request, key, *, replay):
        if not self.sent:
            self.sent.append(Sent(key=key, request=request, replay=replay))
            return Outcome(status="transient", code="rate_limit", retry_after_s=120)
        return await super().charge(request, key, replay=replay)


async def test_a_provider_that_asks_for_patience_is_not_asked_before(live, clock):
    provider = Limiting()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)

    for waited_s, asks_for_s in ((0, 120), (30, 90)):
        clock.advance(timedelta(seconds=waited_s))
        with pytest.raises(ProviderUnavailable) as refused:
            await charging.charge(context, ACTOR, invoice_id)
        assert refused.value.retry_after_s == asks_for_s
        assert refused.value.details["code"] == "rate_limit"
    assert len(provider.sent) == 1
    assert (await invoice_of(context, invoice_id)).payment_status == "failed"

    clock.advance(timedelta(seconds=90))
    assert (await charging.charge(context, ACTOR, invoice_id)).settled
    assert len({sent.key for sent in provider.sent}) == 1


class Liar(Remembering):
    """Takes another amount, or says so."""

    def outcome(self, asked):
        return msgspec.structs.replace(super().outcome(asked), echoed_amount=asked.amount + 1)


async def test_a_liar_that_was_talked_to_may_be_asked_again(live, clock):
    provider = Liar()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    payment = (await charging.charge(context, ACTOR, invoice_id)).payment
    await resolve_all(context, clock, invoice_id)

    provider.outcome = Remembering().outcome
    await perform(
        context, ACTOR, lambda work: payments.resolve(work, payment.id, "look_again", "corrected")
    )
    await resolve_all(context, clock, invoice_id)

    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert len({sent.key for sent in provider.sent}) == 1


class LiarLater(Liar):
    """First it is pending, and only then another amount."""

    async def charge(self, request, key, *, replay):
        await super().charge(request, key, replay=replay)
        return Outcome(status="pending", provider_ref="ch_1")


@pytest.mark.parametrize("liar", [Liar, LiarLater])
async def test_another_amount_is_an_operators_matter_at_once(live, clock, liar):
    provider = liar()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)

    await charging.charge(context, ACTOR, invoice_id)
    for _ in range(3):
        await resolve_all(context, clock, invoice_id)

    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.code) == ("needs_operator", "amount_mismatch")
    assert len(provider.sent) == 1
    invoice = await invoice_of(context, invoice_id)
    assert (invoice.status, invoice.payment_status) == ("issued", "unknown")
    with pytest.raises(Conflict):
        await charging.charge(context, ACTOR, invoice_id)


class Busy(Remembering):
    """Refuses a repeated key, as a provider under load does, before it looks the key up."""

    async def charge(self, request, key, *, replay):
        outcome = await super().charge(request, key, replay=replay)
        return Outcome(status="transient", code="rate_limited") if replay else outcome


async def test_a_refusal_of_a_replay_says_nothing_of_the_first_send(live, clock):
    provider = Busy(lost=1, find=False)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)

    await charging.charge(context, ACTOR, invoice_id)
    await resolve_all(context, clock, invoice_id)

    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.maybe_executed) == ("unknown", True)


class Slow(Remembering):
    """Holds its answers back until it is let go."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.go = asyncio.Event()

    async def reply(self):
        await self.go.wait()


async def race(context, provider, invoice_id, callers=50):
    """How the callers fared: the results and the errors."""
    tasks = [
        asyncio.create_task(charging.charge(context, ACTOR, invoice_id)) for _ in range(callers)
    ]

    async def refused_or_asking():
        return sum(task.done() for task in tasks) + len(provider.sent) == callers

    await eventually(refused_or_asking)
    provider.go.set()
    await asyncio.wait(tasks)
    return [task.exception() or task.result() for task in tasks]


async def test_fifty_callers_at_once_make_one_charge(live, clock):
    provider = Slow()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)

    fared = await race(context, provider, invoice_id)

    assert len(provider.sent) == 1
    refused = [one for one in fared if isinstance(one, AbaxusError)]
    assert {one.code for one in refused} == {"CHARGE_IN_PROGRESS"}
    assert len(refused) == 49
    assert (await invoice_of(context, invoice_id)).status == "paid"


async def test_without_the_live_attempt_index_the_race_is_lost(live, clock):
    """The negative control: it is the index, and nothing else, that lets one attempt in."""
    provider = Slow()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    async with live.connection() as conn:
        await conn.execute("DROP INDEX payments_one_live")

    await race(context, provider, invoice_id)

    assert len(provider.sent) > 1


async def test_the_sweep_finds_what_is_due_and_only_that(live, clock):
    context = make_context(live, clock)
    pending = await make_invoice(live, clock.now, method="pm_pending")
    await make_invoice(live, clock.now, customer_id="other")
    await charging.charge(context, ACTOR, pending)

    assert await charging.sweep(context) == 0
    clock.advance(domain.CHECK_DELAYS[0])
    assert await charging.sweep(context) == 1


async def test_a_job_that_comes_too_early_or_twice_does_nothing(live, clock):
    provider = Remembering(lost=1)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    payment = (await charging.charge(context, ACTOR, invoice_id)).payment
    clock.set(payment.next_check_at - charging.EARLY_MAX - timedelta(seconds=1))
    await charging.resolve(context, payment.id)
    assert len(provider.sent) == 1

    clock.set(payment.next_check_at)
    await asyncio.gather(*(charging.resolve(context, payment.id) for _ in range(5)))
    await charging.resolve(context, "pay_none")

    assert len(provider.sent) == 2
    assert (await invoice_of(context, invoice_id)).status == "paid"
