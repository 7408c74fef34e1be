"""From `send` to a real mail server: what arrives, and where it is seen when it does not."""

import email
import email.policy
import re
from contextlib import suppress

import pytest

from abaxus_core.kernel import plugin_manager
from abaxus_core.kernel.queue import Snooze
from abaxus_core.plugin.email import Capabilities, EmailOutcome
from abaxus_core.services import mailing
from abaxus_core.services.work import perform
from tests.support.api import serving
from tests.support.collection import ACTOR, make_context, make_invoice
from tests.support.mail_server import (
    PASSWORD,
    USERNAME,
    mail_server,
    make_authority,
    misbehaving,
    smtp_to,
)


async def send_and_deliver(context, invoice_id):
    mail = await perform(context, ACTOR, lambda work: mailing.send(context, work, invoice_id))
    await mailing.deliver(context, mail.id)
    return mail


def failed(context, reason):
    """What the counter of failed mails says."""
    found = re.search(
        rf'^abaxus_mails_failed_total{{mode="live",reason="{reason}"}} (\S+)$',
        context.telemetry.exposition().decode(),
        re.MULTILINE,
    )
    return found and found[1]


async def test_an_invoice_arrives_at_a_mail_server_encrypted_and_whole(live, clock, tmp_path):
    authority = make_authority(tmp_path)
    async with mail_server(security="starttls", authority=authority, login=True) as inbox:
        environ = {
            "SMTP_HOST": "localhost",
            "SMTP_PORT": str(inbox.port),
            "SMTP_SECURITY": "starttls",
            "SMTP_CA_FILE": str(authority.ca_file),
            "SMTP_USERNAME": USERNAME,
            "SMTP_PASSWORD": PASSWORD,
        }
        async with plugin_manager.opened(plugin_manager.load(["smtp"], environ)) as opened:
            context = make_context(live, clock, sender=opened.email_senders["smtp"])
            mail = await send_and_deliver(context, await make_invoice(live, clock.now))

    (delivered,) = inbox.mails
    assert (delivered.encrypted, delivered.authenticated) == (True, True)
    assert (delivered.sender, delivered.recipients) == (
        "billing@seller.example",
        ["payer@customer.example"],
    )
    message = email.message_from_bytes(delivered.content, policy=email.policy.default)
    assert message["Message-ID"] == f"<{mail.id}@seller.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == clock.now
    for kind in ("plain", "html"):
        assert "157.75 USD" in message.get_body((kind,)).get_content()


async def test_a_refusal_for_good_is_seen_on_the_invoice_and_in_the_metrics(databases, clock):
    live = databases.live
    async with (
        misbehaving(RCPT=b"550 5.1.1 <payer@customer.example> no such mailbox") as server,
        plugin_manager.opened(smtp_to(server.port)) as opened,
    ):
        context = make_context(live, clock, sender=opened.email_senders["smtp"])
        invoice_id = await make_invoice(live, clock.now)
        await send_and_deliver(context, invoice_id)

    async with serving(databases, clock) as api:
        shown = (await api.client.get(f"/v1/invoices/{invoice_id}")).json()["email"]
    assert shown["status"] == "failed"
    assert shown["error"] == ("rejected: recipient_refused (550 5.1.1 <address> no such mailbox)")
    assert failed(context, "rejected") == "1.0"


class Never:
    """A service that puts off for ever, or says what no service should."""

    capabilities = Capabilities()

    def __init__(self, outcome):
        self.outcome = outcome

    async def send(self, message, key):
        return self.outcome


async def test_a_mail_that_is_given_up_counts_once(live, clock):
    context = make_context(live, clock, sender=Never(EmailOutcome(status="deferred")))
    invoice_id = await make_invoice(live, clock.now)
    mail = await perform(context, ACTOR, lambda work: mailing.send(context, work, invoice_id))
    for _ in range(mailing.DELIVERIES_MAX + 1):
        with suppress(Snooze):
            await mailing.deliver(context, mail.id)
    assert failed(context, "given_up") == "1.0"


async def test_what_a_sender_says_is_kept_within_what_the_database_takes(live, clock):
    said = EmailOutcome(status="accepted", provider_message_id="m\0" + "x" * 10_000)
    context = make_context(live, clock, sender=Never(said))
    mail = await send_and_deliver(context, await make_invoice(live, clock.now))
    async with live.connection() as conn:
        kept = await conn.fetchval(
            "SELECT provider_message_id FROM email_messages WHERE email_id = $1", mail.id
        )
    assert kept == "m" + "x" * 254


async def test_an_outcome_that_is_none_proves_nothing(live, clock):
    context = make_context(live, clock, sender=Never(EmailOutcome(status="delivered")))
    with pytest.raises(Snooze):
        await send_and_deliver(context, await make_invoice(live, clock.now))
    async with live.connection() as conn:
        error = await conn.fetchval("SELECT error FROM email_messages")
    assert error == "unknown: invalid_outcome"
