"""Mailing an invoice: written once, delivered until it is sent or given up."""

import asyncio
import email
import email.policy
import json
from datetime import timedelta

import pytest

from abaxus_core.errors import IllegalTransition, InvalidInput, NotFound
from abaxus_core.kernel.queue import Snooze
from abaxus_core.plugin.email import Capabilities, EmailOutcome, mime
from abaxus_core.repositories import emails, invoices
from abaxus_core.services import charging, mailing
from abaxus_core.services.documents import making, press
from abaxus_core.services.work import perform
from abaxus_plugins.outbox.sender import Outbox
from tests.support.collection import ACTOR, actions_of, make_context, make_invoice
from tests.support.documents import pages_of


class Scripted:
    """Answers one delivery after the other as it is told; keeps what it was given."""

    capabilities = Capabilities()

    def __init__(self, *answers):
        self.answers = list(answers)
        self.given = []

    async def send(self, message, key):
        self.given.append((message, key))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


ACCEPTED = EmailOutcome(status="accepted", provider_message_id="m1")
DEFERRED = EmailOutcome(status="deferred", code="greylisted")
UNKNOWN = EmailOutcome(status="unknown", code="timeout")
REFUSED = EmailOutcome(status="rejected", code="no_mailbox", scope="recipient", detail="550 5.1.1")


async def send(context, invoice_id):
    return await perform(context, ACTOR, lambda work: mailing.send(context, work, invoice_id))


async def mail_of(context, invoice_id):
    async with context.database.connection() as conn:
        return (await emails.latest_of_invoices(conn, [invoice_id])).get(invoice_id)


async def queued_jobs(context):
    async with context.database.connection() as conn:
        return await conn.fetch("SELECT payload FROM jobs WHERE kind = 'email.deliver'")


async def test_the_mail_is_a_file_that_says_what_the_invoice_says(live, clock, tmp_path):
    context = make_context(live, clock, sender=Outbox(tmp_path / "out"))
    invoice_id = await make_invoice(live, clock.now)

    mail = await send(context, invoice_id)
    assert (mail.state, len(await queued_jobs(context))) == ("queued", 1)
    await mailing.deliver(context, mail.id)

    (file,) = (tmp_path / "out").iterdir()
    assert file.name == f"{mail.id}.eml"
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert message["From"] == "Seller GmbH <billing@seller.example>"
    assert message["To"] == "payer@customer.example"
    assert message["Subject"] == "Invoice INV-000001 from Seller GmbH"
    assert message["Message-ID"] == f"<{mail.id}@seller.example>"
    assert message["Date"].datetime == clock.now
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_body(("plain",)).get_content()
    page = message.get_body(("html",)).get_content()
    for shown in (
        "INV-000001",
        "157.75 USD",
        "Apr 10\u2009–\u2009May 10, 2026",
        "Tier 1, up to 100,000",
    ):
        assert shown in text
        assert shown in page
    assert "API <calls>" in text
    assert "API &lt;calls&gt;" in page
    assert "Acme &amp; Söhne" in page
    (attached,) = message.iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == (
        "application/pdf",
        "INV-000001.pdf",
    )
    assert "157.75 USD" in pages_of(attached.get_content())[0]
    for fetched in ("http:", "https:", "src=", "@import", "url("):
        assert fetched not in page
    fate = await mail_of(context, invoice_id)
    assert (fate.state, fate.attempts, fate.finished_at) == ("sent", 1, clock.now)
    assert await actions_of(context, invoice_id) == ["invoice.send_requested", "invoice.sent"]


async def test_what_may_have_arrived_is_sent_again_as_the_same_mail(live, clock):
    sender = Scripted(UNKNOWN, OSError("cut"), DEFERRED, ACCEPTED)
    context = make_context(live, clock, sender=sender)
    invoice_id = await make_invoice(live, clock.now)
    mail = await send(context, invoice_id)

    for delay_s in (10, 60, 300):
        with pytest.raises(Snooze) as snoozed:
            await mailing.deliver(context, mail.id)
        assert snoozed.value.seconds == delay_s
        clock.advance(timedelta(seconds=delay_s))
        assert (await mail_of(context, invoice_id)).error is not None
    await mailing.deliver(context, mail.id)
    await mailing.deliver(context, mail.id)

    assert len({mime(message) for message, _ in sender.given}) == 1
    assert len(sender.given[0][0].attachments) == 1
    assert [key for _, key in sender.given] == [mail.id] * 4
    fate = await mail_of(context, invoice_id)
    assert (fate.state, fate.error, fate.provider_message_id) == ("sent", None, "m1")


async def test_a_refusal_for_good_is_seen_and_not_tried_again(live, clock):
    sender = Scripted(REFUSED)
    context = make_context(live, clock, sender=sender)
    invoice_id = await make_invoice(live, clock.now)
    mail = await send(context, invoice_id)

    await mailing.deliver(context, mail.id)
    await mailing.deliver(context, mail.id)

    fate = await mail_of(context, invoice_id)
    assert (fate.state, fate.error) == ("failed", "rejected: no_mailbox (550 5.1.1)")
    assert (await actions_of(context, invoice_id))[-1] == "invoice.send_failed"
    assert len(sender.given) == 1


async def test_a_mail_is_given_up_in_the_end(live, clock):
    sender = Scripted(*[DEFERRED] * mailing.DELIVERIES_MAX)
    context = make_context(live, clock, sender=sender)
    invoice_id = await make_invoice(live, clock.now)
    mail = await send(context, invoice_id)

    for _ in range(mailing.DELIVERIES_MAX - 1):
        with pytest.raises(Snooze):
            await mailing.deliver(context, mail.id)
    await mailing.deliver(context, mail.id)

    fate = await mail_of(context, invoice_id)
    assert (fate.state, fate.attempts) == ("failed", mailing.DELIVERIES_MAX)
    assert (await actions_of(context, invoice_id))[-1] == "invoice.send_failed"


async def test_a_mail_whose_job_gave_up_is_seen_to_have_failed(live, clock):
    context = make_context(live, clock, sender=Scripted())
    invoice_id = await make_invoice(live, clock.now)
    await send(context, invoice_id)
    await mailing.fail_abandoned(context)
    assert (await mail_of(context, invoice_id)).state == "queued"

    async with live.connection() as conn:
        await conn.execute("UPDATE jobs SET state = 'discarded', finished_at = now()")
    await mailing.fail_abandoned(context)

    mail = await mail_of(context, invoice_id)
    assert (mail.state, mail.error) == ("failed", "abandoned: its job gave up")
    assert "invoice.send_failed" in await actions_of(context, invoice_id)


async def test_a_service_that_says_when_to_come_back_is_heard_within_a_day(live, clock):
    waits = [EmailOutcome(status="deferred", retry_after_s=seconds) for seconds in (900, 10**9)]
    context = make_context(live, clock, sender=Scripted(*waits))
    mail = await send(context, await make_invoice(live, clock.now))

    for seconds in (900, 86_400):
        with pytest.raises(Snooze) as snoozed:
            await mailing.deliver(context, mail.id)
        assert snoozed.value.seconds == seconds


async def test_without_a_sender_the_mail_waits(live, clock):
    mail = await send(
        make_context(live, clock, sender=Scripted()), await make_invoice(live, clock.now)
    )
    with pytest.raises(Snooze):
        await mailing.deliver(make_context(live, clock), mail.id)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (None, "NO_EMAIL_ADDRESS"),
        ("payer@customer.example\r\nBcc: thief@example.com", "VALIDATION_FAILED"),
        ("payer@customer.example, thief@example.com", "VALIDATION_FAILED"),
        ("nobody", "VALIDATION_FAILED"),
    ],
)
async def test_an_address_that_is_none_is_refused_by_name(live, clock, address, code):
    context = make_context(live, clock, sender=Scripted())
    invoice_id = await make_invoice(live, clock.now, email=address)

    with pytest.raises(InvalidInput) as refused:
        await send(context, invoice_id)

    assert (refused.value.code, refused.value.field) == (code, "email")
    assert await mail_of(context, invoice_id) is None
    assert await queued_jobs(context) == []


async def test_what_cannot_be_sent(live, clock):
    context = make_context(live, clock, sender=Scripted())
    with pytest.raises(NotFound) as missing:
        await send(context, "inv_none")
    assert missing.value.code == "INVOICE_NOT_FOUND"

    invoice_id = await make_invoice(live, clock.now)
    with pytest.raises(InvalidInput) as unconfigured:
        await send(make_context(live, clock), invoice_id)
    assert unconfigured.value.code == "PROVIDER_NOT_ENABLED"

    await live.transaction(
        lambda conn: invoices.archive(conn, invoice_id, at=clock.now, reason="mistake")
    )
    with pytest.raises(IllegalTransition):
        await send(context, invoice_id)


async def test_a_paid_invoice_says_that_nothing_is_due(live, clock):
    sender = Scripted(ACCEPTED)
    context = make_context(live, clock, sender=sender)
    invoice_id = await make_invoice(live, clock.now)
    await charging.charge(context, ACTOR, invoice_id)

    await mailing.deliver(context, (await send(context, invoice_id)).id)

    ((message, _),) = sender.given
    assert "Paid on May 10, 2026. Nothing is due." in message.text


async def test_the_pdf_is_settled_by_the_first_delivery_and_let_go_at_the_end(live, clock):
    sender = Scripted(UNKNOWN, ACCEPTED)
    context = make_context(live, clock, sender=sender)
    invoice_id = await make_invoice(live, clock.now)
    mail = await send(context, invoice_id)
    with pytest.raises(Snooze):
        await mailing.deliver(context, mail.id)

    async with live.connection() as conn:
        await conn.execute("UPDATE customers SET name = 'Renamed'")
    await mailing.deliver(context, mail.id)

    assert len({mime(message) for message, _ in sender.given}) == 1
    async with live.connection() as conn:
        kept = await conn.fetchval("SELECT message -> 'attachments' FROM email_messages")
    assert json.loads(kept) == []


async def test_two_workers_at_one_mail_send_the_same_bytes(live, clock):
    sender = Scripted(UNKNOWN, UNKNOWN)
    context = make_context(live, clock, sender=sender)
    mail = await send(context, await make_invoice(live, clock.now))

    ended = await asyncio.gather(
        *(mailing.deliver(context, mail.id) for _ in range(2)), return_exceptions=True
    )

    assert [type(end) for end in ended] == [Snooze, Snooze]
    assert len({mime(message) for message, _ in sender.given}) == 1


async def test_a_mail_waits_while_too_many_documents_are_made(live, clock, monkeypatch):
    sender = Scripted(ACCEPTED)
    context = make_context(live, clock, sender=sender)
    mail = await send(context, await make_invoice(live, clock.now))

    monkeypatch.setattr(press, "WAITING_MAX", -1)
    with pytest.raises(Snooze) as snoozed:
        await mailing.deliver(context, mail.id)
    assert snoozed.value.seconds == press.RETRY_AFTER_S
    assert (await mail_of(context, mail.invoice_id)).attempts == 0

    monkeypatch.undo()
    await mailing.deliver(context, mail.id)
    assert len(sender.given) == 1


async def test_an_invoice_too_long_for_a_document_is_not_sent(live, clock, monkeypatch):
    context = make_context(live, clock, sender=Scripted())
    invoice_id = await make_invoice(live, clock.now)
    monkeypatch.setattr(making, "ROWS_MAX", 0)
    with pytest.raises(InvalidInput) as refused:
        await send(context, invoice_id)
    assert refused.value.code == "DOCUMENT_TOO_LONG"
    assert await mail_of(context, invoice_id) is None
