"""Mailing invoices: the mail is written with the request, delivered by the worker, at least once.

The PDF is made by the worker and stored with the mail before its first delivery, so that what may
have arrived is sent again as the same mail: same Message-ID, same bytes. A refusal for good and a
mail given up stay on the row, in the audit log of the invoice and in the metrics.
"""

from datetime import timedelta
from typing import Final

import structlog

from abaxus_core.errors import IllegalTransition, InvalidInput, NotFound, RateLimited
from abaxus_core.kernel.queue import Snooze, enqueue
from abaxus_core.plugin.email import Attachment, EmailOutcome, is_mail_address
from abaxus_core.repositories import emails, invoices
from abaxus_core.repositories.emails import Delivery, Mail
from abaxus_core.services import audit, customers, invoice_documents, invoice_mail, sender_calls
from abaxus_core.services.documents.making import check_length
from abaxus_core.services.invoice_mail import Envelope
from abaxus_core.services.jobs import EMAIL_DELIVER, DeliverEmail
from abaxus_core.services.work import SYSTEM, Context, Work, perform

DELIVERIES_MAX: Final = 12
DELIVERY_DELAYS: Final = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
)
RETRY_AFTER_MAX_S: Final = 86_400
ERROR_LENGTH_MAX: Final = 500
ABANDONED_AT_ONCE_MAX: Final = 500

_log = structlog.get_logger("abaxus.mailing")


async def send(context: Context, work: Work, invoice_id: str) -> Mail:
    """The mail, written and queued; every call writes another. Delivery is the worker's.

    Raises NotFound (INVOICE_NOT_FOUND), IllegalTransition for an archived invoice, InvalidInput
    when the customer has no usable address, no email provider is configured or a document cannot
    hold the invoice (DOCUMENT_TOO_LONG).
    """
    invoice = await invoices.get(work.conn, invoice_id)
    if invoice is None:
        raise NotFound("there is no such invoice", code="INVOICE_NOT_FOUND")
    if invoice.status == "archived":
        raise IllegalTransition("the invoice is archived; it is not sent any more")
    if context.email_provider is None:
        raise InvalidInput("no email provider is configured", code="PROVIDER_NOT_ENABLED")
    check_length(invoice)
    subject = await invoice_documents.subject_of(context, work.conn, invoice)
    customer = await customers.get(work.conn, invoice.customer_id)
    envelope = _envelope(context, work, customer.email)
    mail = _mail(envelope, invoice_id, context.email_provider)
    letter = context.documents.make_letter(subject)
    await emails.insert(work.conn, mail, invoice_mail.compose(letter, envelope))
    await enqueue(work.conn, EMAIL_DELIVER, DeliverEmail(email_id=mail.id), unique_key=mail.id)
    await _audit(work, "invoice.send_requested", invoice_id, {"email_id": mail.id})
    return mail


async def deliver(context: Context, email_id: str) -> None:
    """Deliver the mail if it is still to be delivered. Raises Snooze when it must be tried again.

    Safe to repeat: a mail that is sent or failed stays as it is.
    """
    provider, sender = context.email_provider, context.email_sender
    if provider is None or sender is None:
        _log.error("mail.no_provider", email_id=email_id)
        raise Snooze(_seconds(DELIVERY_DELAYS[-1]))

    await _attach(context, email_id)

    async def begin(work: Work) -> Delivery | None:
        return await emails.begin_delivery(work.conn, email_id, provider)

    delivery = await perform(context, SYSTEM, begin)
    if delivery is None:
        return
    outcome = await sender_calls.hand_over(sender, delivery.message, delivery.email_id)
    context.telemetry.mail_handed_over(context.mode, provider, outcome.status)
    final = outcome.status in ("accepted", "rejected") or delivery.attempt >= DELIVERIES_MAX

    async def record(work: Work) -> bool:
        step = _finish if final else _note
        return await step(work, delivery, outcome)

    changed = await perform(context, SYSTEM, record)
    if not final:
        raise Snooze(_delay_s(outcome, delivery.attempt))
    if changed and outcome.status != "accepted":
        reason = "rejected" if outcome.status == "rejected" else "given_up"
        context.telemetry.mails_failed(context.mode, reason, 1)


async def fail_abandoned(context: Context) -> None:
    """Give up mails whose job gave up, or died with its worker too often, for all to see."""

    async def step(work: Work) -> int:
        mails = await emails.abandoned(work.conn, rows_max=ABANDONED_AT_ONCE_MAX)
        return sum([await _give_up(work, mail) for mail in mails])

    failed = await perform(context, SYSTEM, step)
    context.telemetry.mails_failed(context.mode, "abandoned", failed)


async def _give_up(work: Work, mail: Mail) -> bool:
    """Whether that changed anything."""
    last = f"; last: {mail.error}" if mail.error else ""
    error = f"abandoned: its job gave up{last}"[:ERROR_LENGTH_MAX]
    if not await emails.mark_failed(work.conn, mail.id, error, work.now):
        return False
    _log.error("mail.abandoned", email_id=mail.id)
    data = {"email_id": mail.id, "attempts": mail.attempts, "code": "abandoned"}
    await _audit(work, "invoice.send_failed", mail.invoice_id, data)
    return True


async def _attach(context: Context, email_id: str) -> None:
    """Store the invoice's PDF with a mail that has none: whichever worker comes first."""
    async with context.database.connection() as conn:
        invoice_id = await emails.invoice_of_unattached(conn, email_id)
    if invoice_id is None:
        return
    try:
        pdf = await invoice_documents.pdf(context, invoice_id)
    except RateLimited as busy:
        raise Snooze(busy.retry_after_s) from busy
    attachment = Attachment(
        filename=pdf.filename, media_type="application/pdf", content=pdf.content
    )

    async def step(work: Work) -> None:
        await emails.attach(work.conn, email_id, attachment)

    await perform(context, SYSTEM, step)


def _envelope(context: Context, work: Work, recipient: str | None) -> Envelope:
    if recipient is None:
        raise InvalidInput(
            "the customer has no email address", code="NO_EMAIL_ADDRESS", field="email"
        )
    if not is_mail_address(recipient):
        raise InvalidInput("the customer's email address is none", field="email")
    return Envelope(
        email_id=work.ids.new("eml"),
        date=work.now,
        sender=str(context.settings.email_from),
        seller_name=context.seller.name,
        recipient=recipient,
    )


def _mail(envelope: Envelope, invoice_id: str, provider: str) -> Mail:
    return Mail(
        id=envelope.email_id,
        invoice_id=invoice_id,
        recipient=envelope.recipient,
        provider=provider,
        state="queued",
        attempts=0,
        provider_message_id=None,
        error=None,
        created_at=envelope.date,
        finished_at=None,
    )


async def _finish(work: Work, delivery: Delivery, outcome: EmailOutcome) -> bool:
    """Whether that changed anything: a mail is finished once."""
    email_id = delivery.email_id
    data: dict[str, object] = {"email_id": email_id, "attempts": delivery.attempt}
    if outcome.status == "accepted":
        sent = await emails.mark_sent(work.conn, email_id, outcome.provider_message_id, work.now)
        if sent:
            await _audit(work, "invoice.sent", delivery.invoice_id, data)
        return sent
    failed = await emails.mark_failed(work.conn, email_id, _error(outcome), work.now)
    if failed:
        _log.error("mail.failed", email_id=email_id, code=outcome.code, scope=outcome.scope)
        data |= {"code": outcome.code, "scope": outcome.scope}
        await _audit(work, "invoice.send_failed", delivery.invoice_id, data)
    return failed


async def _note(work: Work, delivery: Delivery, outcome: EmailOutcome) -> bool:
    await emails.note_error(work.conn, delivery.email_id, _error(outcome))
    return False


def _error(outcome: EmailOutcome) -> str:
    text = f"{outcome.status}: {outcome.code or 'no reason given'}"
    if outcome.detail:
        text += f" ({outcome.detail})"
    return text[:ERROR_LENGTH_MAX]


def _delay_s(outcome: EmailOutcome, attempt: int) -> int:
    ours = _seconds(DELIVERY_DELAYS[min(attempt, len(DELIVERY_DELAYS)) - 1])
    theirs = min(outcome.retry_after_s or 0, RETRY_AFTER_MAX_S)
    return max(ours, theirs)


def _seconds(delay: timedelta) -> int:
    return delay // timedelta(seconds=1)


async def _audit(work: Work, action: str, invoice_id: str, data: dict[str, object]) -> None:
    await audit.record(work, action=action, object_type="invoice", object_id=invoice_id, data=data)
