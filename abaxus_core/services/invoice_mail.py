"""The mail that carries an invoice: what documents say of it, in an envelope.

Pure: the same arguments give the same message. Storing and delivering it, and the PDF that is
attached before the first delivery, are mailing.py's.
"""

from datetime import datetime
from typing import Final

import msgspec

from abaxus_core.plugin.email import EmailMessage
from abaxus_core.services.documents.making import Letter

# RFC 3834, section 5: keeps vacation answers away; the second is Exchange's word for it.
HEADERS: Final = (
    ("Auto-Submitted", "auto-generated"),
    ("X-Auto-Response-Suppress", "All"),
)


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes to whom, when, under which id."""

    email_id: str
    date: datetime
    sender: str
    seller_name: str | None
    recipient: str

    @property
    def message_id(self) -> str:
        return f"<{self.email_id}@{self.sender.rpartition('@')[2]}>"


def compose(letter: Letter, envelope: Envelope) -> EmailMessage:
    """The message that carries the invoice to the customer, nothing attached yet."""
    return EmailMessage(
        message_id=envelope.message_id,
        date=envelope.date,
        sender=envelope.sender,
        sender_name=envelope.seller_name,
        recipient=envelope.recipient,
        subject=letter.subject,
        text=letter.text,
        html=letter.html,
        headers=HEADERS,
    )
