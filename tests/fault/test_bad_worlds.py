"""A provider that is down, slow, lying, babbling or in a hurry: what invoice and metrics say.

How each is resolved afterwards: test_payment_providers.py.
"""

from typing import Final

import pytest

from abaxus_core.errors import AbaxusError
from abaxus_core.services import charging
from tests.fault.test_payment_providers import FAKES, charging_with
from tests.support.collection import ACTOR, invoice_of, make_invoice, payments_of
from tests.support.fleet import fleet
from tests.support.payment_scene import scene
from tests.support.stripe_fake import RATE_LIMIT_S

UNKNOWN: Final = (None, "unknown", "unknown")
BUSY: Final = ("PROVIDER_UNAVAILABLE", "transient", "failed")
# What goes wrong → the error, if any, the payment's state, and what the invoice shows.
WORLDS: Final = {
    "drop": UNKNOWN,
    "lose": UNKNOWN,
    "hang": UNKNOWN,
    "half": UNKNOWN,
    "garbage": UNKNOWN,
    "redirect": UNKNOWN,
    "wrong_amount": UNKNOWN,
    "error_before": UNKNOWN,
    "error_after": UNKNOWN,
    "key_in_use": UNKNOWN,
    "rate_limited": BUSY,
    "bad_credentials": ("PAYMENT_REJECTED", "rejected", "failed"),
}
# The same said by only one of them: Stripe makes no promise that nothing ran.
UNAVAILABLE: Final = {"stripe": UNKNOWN, "adyen": BUSY}

both = pytest.mark.parametrize("name", FAKES)


@both
@pytest.mark.parametrize("world", [*WORLDS, "unavailable"])
async def test_each_bad_world_shows_on_the_invoice_and_in_the_metrics(live, clock, name, world):
    code, state, shown = WORLDS.get(world) or UNAVAILABLE[name]
    async with charging_with(name, live, clock) as (context, fake):
        fake.faults.append(world)
        invoice_id = await make_invoice(live, clock.now, method=FAKES[name][2])
        raised = None
        try:
            await charging.charge(context, ACTOR, invoice_id)
        except AbaxusError as error:
            raised = error.code

        assert raised == code
        (payment,) = await payments_of(context, invoice_id)
        assert payment.state == state
        invoice = await invoice_of(context, invoice_id)
        assert (invoice.status, invoice.payment_status) == ("issued", shown)
        counted = f'{{mode="live",outcome="{state}",provider="{name}"}} 1.0'
        assert f"abaxus_payment_attempts_total{counted}" in context.telemetry.exposition().decode()


async def test_a_caller_is_told_for_how_long_the_provider_wants_to_be_left_alone(durable_databases):
    async with (
        fleet(durable_databases.dsn) as up,
        scene(up, durable_databases, "stripe", speed=1) as it,
    ):
        it.fake.faults.append("rate_limited")
        invoice_id = await it.invoice()
        api = await it.api()
        first = await it.charge(api, invoice_id)
        again = await it.charge(api, invoice_id)

        for answer in (first, again):
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "PROVIDER_UNAVAILABLE"
            assert 1 <= int(answer.headers["retry-after"]) <= RATE_LIMIT_S
        assert len(it.fake.heard) == 1
