"""What a declined or unfinished attempt leaves at its provider is cancelled there, best effort."""

from contextlib import suppress

import msgspec
import pytest

from abaxus_core.domain import payments as domain
from abaxus_core.errors import PaymentDeclined, ProviderUnavailable
from abaxus_core.plugin.payments import Outcome
from abaxus_core.services import charging, leftovers
from abaxus_core.services.jobs import EndLeftover
from tests.support.collection import (
    ACTOR,
    Remembering,
    actions_of,
    invoice_of,
    make_context,
    make_invoice,
    payments_of,
)


class Leaving(Remembering):
    """Answers `answer` and keeps an object; cancelling it says `ended`, or raises it."""

    def __init__(self, answer, ended=None, **settings):
        super().__init__(**settings)
        self.capabilities = msgspec.structs.replace(self.capabilities, cancel=True)
        self.answer = answer
        self.ended = ended or Outcome(status="declined", provider_ref="ch_1", code="canceled")
        self.cancelled = []

    async def charge(self, request, key, *, replay):
        await super().charge(request, key, replay=replay)
        return Outcome(status=self.answer, provider_ref="ch_1", code="authentication_required")

    async def fetch(self, provider_ref, request):
        return Outcome(status=self.answer, provider_ref="ch_1")

    async def cancel(self, request, key, *, provider_ref):
        self.cancelled.append((key, provider_ref))
        if isinstance(self.ended, Exception):
            raise self.ended
        return self.ended


def succeeded_late():
    return Outcome(
        status="succeeded", provider_ref="ch_1", echoed_amount="157.75", echoed_currency="USD"
    )


async def ends_ordered(context):
    async with context.database.connection() as conn:
        rows = await conn.fetch("SELECT payload FROM jobs WHERE kind = 'payment.end'")
    return [msgspec.json.decode(row["payload"], type=EndLeftover) for row in rows]


async def charged(context, clock):
    invoice_id = await make_invoice(context.database, clock.now)
    with suppress(PaymentDeclined):
        await charging.charge(context, ACTOR, invoice_id)
    return invoice_id


async def test_what_waits_for_a_payer_is_ended_and_another_attempt_is_free(live, clock):
    provider = Leaving("requires_action")
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await charged(context, clock)
    assert (await invoice_of(context, invoice_id)).payment_status == "requires_action"

    (order,) = await ends_ordered(context)
    await leftovers.end(context, order)

    assert provider.cancelled == [(str(order.key), "ch_1")]
    (payment,) = await payments_of(context, invoice_id)
    assert payment.state == "declined"
    assert str(payment.idempotency_key) != str(order.key)
    assert (await invoice_of(context, invoice_id)).payment_status == "failed"
    provider.answer = "pending"
    assert (await charging.charge(context, ACTOR, invoice_id)).payment.state == "pending"


async def test_what_was_declined_is_ended_and_stays_declined(live, clock):
    provider = Leaving("declined")
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await charged(context, clock)
    (before,) = await payments_of(context, invoice_id)

    (order,) = await ends_ordered(context)
    await leftovers.end(context, order)

    assert len(provider.cancelled) == 1
    assert await payments_of(context, invoice_id) == [before]
    assert (await actions_of(context, invoice_id))[-1] == "payment.declined"


async def test_a_cancellation_that_comes_too_late_is_an_alarm_or_pays(live, clock):
    declined = Leaving("declined", succeeded_late())
    context = make_context(live, clock, providers={"sandbox": declined})
    surplus = await charged(context, clock)
    await leftovers.end(context, (await ends_ordered(context))[0])
    assert (await actions_of(context, surplus))[-1] == "payment.surplus"
    assert (await invoice_of(context, surplus)).status == "issued"


async def test_a_payer_who_acted_before_the_cancellation_has_paid(live, clock):
    provider = Leaving("requires_action", succeeded_late())
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await charged(context, clock)
    await leftovers.end(context, (await ends_ordered(context))[0])
    assert (await invoice_of(context, invoice_id)).status == "paid"


async def test_no_answer_is_asked_for_again_and_no_news_changes_nothing(live, clock):
    provider = Leaving("requires_action", ConnectionResetError("lost"))
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await charged(context, clock)
    (order,) = await ends_ordered(context)

    with pytest.raises(ProviderUnavailable):
        await leftovers.end(context, order)
    provider.ended = Outcome(status="unknown", code="cancellation_received")
    await leftovers.end(context, order)

    assert {key for key, _ in provider.cancelled} == {str(order.key)}
    assert (await payments_of(context, invoice_id))[0].state == "requires_action"


async def test_nothing_is_cancelled_of_another_account_or_of_what_has_settled(live, clock):
    provider = Leaving("requires_action")
    context = make_context(live, clock, providers={"sandbox": provider})
    await charged(context, clock)
    (order,) = await ends_ordered(context)

    provider.account = "acct_2"
    await leftovers.end(context, order)
    assert provider.cancelled == []


async def test_what_stays_pending_for_a_month_is_cancelled_and_an_operator_asked(live, clock):
    provider = Leaving("pending")
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await charged(context, clock)
    assert await ends_ordered(context) == []

    for _ in range(domain.CHECKS_MAX + 1):
        (payment,) = await payments_of(context, invoice_id)
        clock.set(payment.next_check_at)
        await charging.resolve(context, payment.id)
    (payment,) = await payments_of(context, invoice_id)
    assert payment.state == "needs_operator"
    await leftovers.end(context, (await ends_ordered(context))[0])

    (payment,) = await payments_of(context, invoice_id)
    assert payment.state == "declined"
