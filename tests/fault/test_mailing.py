"""Mailing while things break: it arrives at least once, and always as the same mail."""

import asyncio
import email
import signal
import sys
from pathlib import Path

import pytest

from abaxus_core.kernel import plugin_manager
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.queue import Snooze
from abaxus_core.repositories import emails
from abaxus_core.services import mailing
from abaxus_core.services.work import perform
from tests.support.collection import ACTOR, actions_of, make_context, make_invoice
from tests.support.mail_server import HANG_UP, SILENCE, misbehaving, smtp_to
from tests.support.waiting import eventually

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def live(durable_databases):
    return durable_databases.live


async def written(live, sender):
    """A context and a mail that waits to be delivered."""
    context = make_context(live, system_clock, sender=sender)
    invoice_id = await make_invoice(live, system_clock())
    mail = await perform(context, ACTOR, lambda work: mailing.send(context, work, invoice_id))
    return context, mail


async def fate_of(context, mail):
    async with context.database.connection() as conn:
        return (await emails.latest_of_invoices(conn, [mail.invoice_id]))[mail.invoice_id]


async def test_a_worker_killed_after_the_mail_went_out_sends_the_same_again(
    durable_databases, live
):
    async with (
        misbehaving(dot=SILENCE) as server,
        plugin_manager.opened(smtp_to(server.port)) as opened,
    ):
        context, mail = await written(live, opened.email_senders["smtp"])
        command = [sys.executable, "-m", "tests.fault.mailing_process"]
        process = await asyncio.create_subprocess_exec(
            *command, durable_databases.dsn, mail.id, str(server.port), cwd=ROOT
        )

        async def sent_or_dead():
            return bool(server.messages) or process.returncode is not None

        try:
            await eventually(sent_or_dead)
            assert process.returncode is None, "the process died before it sent"
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert (await fate_of(context, mail)).state == "queued"

        server.replies["."] = b"250 2.0.0 Ok: queued as 4BC2D"
        await mailing.deliver(context, mail.id)
        await mailing.deliver(context, mail.id)

    first, again = server.messages
    assert first == again
    assert email.message_from_bytes(first)["Message-ID"] == f"<{mail.id}@seller.example>"
    fate = await fate_of(context, mail)
    assert (fate.state, fate.attempts, fate.provider_message_id) == ("sent", 2, "4BC2D")
    assert await actions_of(context, mail.invoice_id) == ["invoice.send_requested", "invoice.sent"]


async def test_a_server_that_hangs_up_after_the_mail_is_sent_the_same_again(live):
    async with (
        misbehaving(dot=HANG_UP) as server,
        plugin_manager.opened(smtp_to(server.port)) as opened,
    ):
        context, mail = await written(live, opened.email_senders["smtp"])
        with pytest.raises(Snooze):
            await mailing.deliver(context, mail.id)
        assert (await fate_of(context, mail)).error.startswith("unknown: no_answer")

        server.replies["."] = b"250 ok"
        await mailing.deliver(context, mail.id)

    assert len(server.messages) == 2
    assert len(set(server.messages)) == 1
    assert (await fate_of(context, mail)).state == "sent"
