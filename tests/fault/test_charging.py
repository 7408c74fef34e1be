"""Charging while things break: whoever dies where, money moves once and the invoice says so."""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from abaxus_core.domain import payments as domain
from abaxus_core.kernel.clock import system_clock
from abaxus_core.services import attempts, charging
from abaxus_core.services import payments as operating
from abaxus_core.services.work import perform
from tests.fault import charging_process
from tests.support.collection import (
    ACTOR,
    Remembering,
    actions_of,
    invoice_of,
    make_context,
    make_invoice,
    payments_of,
)
from tests.support.waiting import eventually

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def live(durable_databases):
    return durable_databases.live


class Stuck(Remembering):
    """Charges, and holds the first answer back until it is let go."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def reply(self):
        if not self.asked.is_set():
            self.asked.set()
            await self.go.wait()


async def look_after(context):
    """What the worker does, once: the sweep, and the jobs it made."""
    await charging.sweep(context)
    async with context.database.connection() as conn:
        rows = await conn.fetch("SELECT payload FROM jobs WHERE kind = 'payment.resolve'")
        await conn.execute("DELETE FROM jobs")
    for row in rows:
        await charging.resolve(context, msgspec.json.decode(row["payload"])["payment_id"])


async def begun_charge(context, provider, invoice_id):
    """A charge that hangs in its provider, between T2 and T3."""
    task = asyncio.create_task(charging.charge(context, ACTOR, invoice_id))
    await provider.asked.wait()
    return task


@pytest.mark.parametrize("ttl_s", [86_400, 0])
async def test_a_sender_cancelled_before_it_recorded_the_outcome_is_taken_over(live, clock, ttl_s):
    provider = Stuck(ttl_s=ttl_s)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    task = await begun_charge(context, provider, invoice_id)
    task.cancel()
    await asyncio.wait([task])
    (payment,) = await payments_of(context, invoice_id)
    assert payment.state == "sending"

    await look_after(context)
    assert (await payments_of(context, invoice_id))[0].state == "sending", "the lease still runs"
    clock.advance(domain.LEASE)
    await look_after(context)

    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert len(provider.charged) == 1
    assert len({sent.key for sent in provider.sent}) == 1
    assert (await actions_of(context, invoice_id)).count("invoice.paid") == 1


async def test_a_sender_killed_between_send_and_outcome_is_taken_over(
    durable_databases, live, tmp_path
):
    """A process of its own, killed by SIGKILL while its provider holds the answer back."""
    ledger = tmp_path / "ledger"
    invoice_id = await make_invoice(live, system_clock())
    command = [sys.executable, "-m", "tests.fault.charging_process"]
    process = await asyncio.create_subprocess_exec(
        *command, durable_databases.dsn, invoice_id, str(ledger), cwd=ROOT
    )

    async def charged_or_dead():
        return ledger.exists() or process.returncode is not None

    try:
        await eventually(charged_or_dead)
        assert process.returncode is None, "the process died before it charged"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()

    context = make_context(
        live,
        lambda: system_clock() + domain.LEASE,
        providers={"sandbox": charging_process.Ledger(ledger)},
    )
    await look_after(context)

    assert (await invoice_of(context, invoice_id)).status == "paid"
    (payment,) = await payments_of(context, invoice_id)
    assert (payment.state, payment.sends) == ("succeeded", 1)
    assert len(ledger.read_text().splitlines()) == 1


async def test_a_caller_that_dies_before_sending_has_its_charge_finished(live, clock):
    provider = Remembering()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    await perform(context, ACTOR, lambda work: attempts.begin(context, work, invoice_id))
    assert provider.sent == []

    clock.advance(domain.CREATED_GRACE)
    await look_after(context)

    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert [sent.replay for sent in provider.sent] == [False]


async def test_a_sender_frozen_past_its_lease_comes_too_late_to_change_anything(live, clock):
    provider = Stuck()
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    task = await begun_charge(context, provider, invoice_id)
    clock.advance(domain.LEASE)
    await look_after(context)
    settled = await payments_of(context, invoice_id)

    provider.go.set()
    result = await task

    assert result.settled
    assert await payments_of(context, invoice_id) == settled
    assert len(provider.charged) == 1
    assert (await actions_of(context, invoice_id)).count("invoice.paid") == 1
    assert "payment.surplus" not in await actions_of(context, invoice_id)


async def test_a_late_success_against_a_closed_attempt_is_an_alarm(live, clock):
    provider = Stuck(ttl_s=0)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    task = await begun_charge(context, provider, invoice_id)
    provider.attempts.clear()
    clock.advance(domain.LEASE)
    await look_after(context)
    assert (await payments_of(context, invoice_id))[0].state == "not_charged"

    provider.go.set()
    await asyncio.wait([task])

    assert (await actions_of(context, invoice_id))[-1] == "payment.surplus"
    assert (await invoice_of(context, invoice_id)).status == "issued"


class CutsConnections(Remembering):
    """While it is asked for money, every connection to the database dies."""

    def __init__(self, dsn):
        super().__init__()
        self.dsn = dsn

    async def reply(self):
        conn = await asyncpg.connect(self.dsn)
        try:
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        finally:
            await conn.close()


async def test_connections_cut_during_the_call_do_not_lose_its_outcome(
    durable_databases, live, clock
):
    provider = CutsConnections(durable_databases.dsn)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)

    await asyncio.wait([asyncio.create_task(charging.charge(context, ACTOR, invoice_id))])
    for _ in range(3):
        if (await invoice_of(context, invoice_id)).status == "paid":
            break
        clock.advance(domain.LEASE)
        await look_after(context)

    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert len(provider.charged) == 1


async def test_two_workers_on_one_unknown_payment_end_in_one_effect(live, clock):
    provider = Remembering(lost=1)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    payment = (await charging.charge(context, ACTOR, invoice_id)).payment

    clock.advance(timedelta(seconds=3))
    await asyncio.gather(*(charging.resolve(context, payment.id) for _ in range(8)))

    assert len(provider.charged) == 1
    assert (await actions_of(context, invoice_id)).count("invoice.paid") == 1


async def test_frozen_bytes_that_were_tampered_with_are_never_sent(live, clock):
    provider = Remembering(lost=1)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    payment = (await charging.charge(context, ACTOR, invoice_id)).payment
    async with live.connection() as conn:
        await conn.execute(
            "UPDATE payments SET request = jsonb_set(request, '{path}', '\"/refunds\"')"
        )

    clock.advance(timedelta(seconds=3))
    with pytest.raises(Exception, match="not the one that was frozen"):
        await charging.resolve(context, payment.id)

    assert len(provider.sent) == 1


async def test_a_late_success_is_believed_where_an_operator_still_waits_for_news(live, clock):
    """The sender was taken over, nobody could be asked, and then its answer comes after all."""
    provider = Stuck(ttl_s=0, find=False, fetch=False)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    task = await begun_charge(context, provider, invoice_id)
    clock.advance(domain.LEASE)
    await look_after(context)
    assert (await payments_of(context, invoice_id))[0].state == "needs_operator"

    provider.go.set()
    result = await task

    assert result.settled
    assert (await invoice_of(context, invoice_id)).status == "paid"
    assert (await actions_of(context, invoice_id)).count("invoice.paid") == 1


async def test_a_late_success_agrees_with_the_operator_who_had_found_it(live, clock):
    provider = Stuck(ttl_s=0, find=False, fetch=False)
    context = make_context(live, clock, providers={"sandbox": provider})
    invoice_id = await make_invoice(live, clock.now)
    task = await begun_charge(context, provider, invoice_id)
    clock.advance(domain.LEASE)
    await look_after(context)
    (payment,) = await payments_of(context, invoice_id)
    await perform(
        context, ACTOR, lambda work: operating.resolve(work, payment.id, "succeeded", "seen")
    )

    provider.go.set()
    assert (await task).settled

    actions = await actions_of(context, invoice_id)
    assert actions.count("invoice.paid") == 1
    assert "payment.surplus" not in actions
