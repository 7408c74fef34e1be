"""Mails: written once, delivered until they are sent or given up."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from abaxus_core.kernel.database import Connection, Record
from abaxus_core.kernel.sql import queries
from abaxus_core.plugin.email import Attachment, EmailMessage

_sql = queries("emails")
_insert = _sql.exec("insert")
_latest_of_invoices = _sql.many("latest_of_invoices")
_unattached = _sql.maybe("unattached")
_attach = _sql.exec("attach")
_begin_delivery = _sql.maybe("begin_delivery")
_finish = _sql.exec("finish")
_note_error = _sql.exec("note_error")
_abandoned = _sql.many("abandoned")


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail's fate. `error` is the last one; of a mail that was sent there is none."""

    id: str
    invoice_id: str
    recipient: str
    provider: str
    state: Literal["queued", "sent", "failed"]
    attempts: int
    provider_message_id: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


_COLUMNS = tuple(name for name in Mail.__struct_fields__ if name != "id")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery, counted from 1, of a mail that is not finished."""

    email_id: str
    invoice_id: str
    attempt: int
    message: EmailMessage


async def insert(conn: Connection, mail: Mail, message: EmailMessage) -> None:
    await _insert(
        conn,
        mail.id,
        mail.invoice_id,
        mail.recipient,
        msgspec.json.encode(message).decode(),
        mail.provider,
        mail.created_at,
    )


async def latest_of_invoices(conn: Connection, invoice_ids: Sequence[str]) -> dict[str, Mail]:
    """The last mail of each invoice that has one, by the invoice's id."""
    mails = [_mail(record) for record in await _latest_of_invoices(conn, invoice_ids)]
    return {mail.invoice_id: mail for mail in mails}


async def abandoned(conn: Connection, *, rows_max: int) -> list[Mail]:
    """Mails that are not finished and have no job left that could deliver them."""
    return [_mail(record) for record in await _abandoned(conn, rows_max)]


async def invoice_of_unattached(conn: Connection, email_id: str) -> str | None:
    """The invoice of a mail that is to be delivered and has no attachment yet."""
    record = await _unattached(conn, email_id)
    return None if record is None else str(record["invoice_id"])


async def attach(conn: Connection, email_id: str, attachment: Attachment) -> bool:
    """Whether that changed anything: what a mail carries is settled once."""
    attachments = msgspec.json.encode([attachment]).decode()
    return await _attach(conn, email_id, attachments) == 1


async def begin_delivery(conn: Connection, email_id: str, provider: str) -> Delivery | None:
    """The delivery to make now; None when the mail is finished, or never was."""
    record = await _begin_delivery(conn, email_id, provider)
    if record is None:
        return None
    return Delivery(
        email_id=email_id,
        invoice_id=record["invoice_id"],
        attempt=record["attempts"],
        message=msgspec.json.decode(record["message"], type=EmailMessage),
    )


async def mark_sent(
    conn: Connection, email_id: str, provider_message_id: str | None, at: datetime
) -> bool:
    """Whether that changed anything: a mail is finished once."""
    return await _finish(conn, email_id, "sent", provider_message_id, None, at) == 1


async def mark_failed(conn: Connection, email_id: str, error: str, at: datetime) -> bool:
    """Whether that changed anything: a mail is finished once."""
    return await _finish(conn, email_id, "failed", None, error, at) == 1


async def note_error(conn: Connection, email_id: str, error: str) -> None:
    await _note_error(conn, email_id, error)


def _mail(record: Record) -> Mail:
    return Mail(id=record["email_id"], **{name: record[name] for name in _COLUMNS})
