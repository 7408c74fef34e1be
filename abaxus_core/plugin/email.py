"""What an email sender's plugin implements, and the message it is given.

The core writes the mail once, stores it, and delivers it at least once: a message that may have
arrived is sent again with the same Message-ID. The plugin hands one message to one service.
"""

import hashlib
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage as MimeMessage
from email.utils import format_datetime
from typing import Any, Final, Literal, Protocol

import httpx
import msgspec

CONTRACT: Final = 1
"""Of this module. A new optional field leaves it; a removal or a new duty raises it."""

ADDRESS_LENGTH_MAX: Final = 254
"""RFC 5321 section 4.5.3.1.3, less the angle brackets of a path."""

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    filename: str
    media_type: str
    content: bytes


class EmailMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One mail to one recipient; what it says is settled, only the encoding is the plugin's.

    `message_id` comes with its angle brackets and is the same on every delivery. The addresses are
    plain (`who@example.com`), `sender_name` goes beside the sender's. `headers` are more headers
    to send as they are. Nothing in it contains a line break but the bodies.
    """

    message_id: str
    date: datetime
    sender: str
    sender_name: str | None
    recipient: str
    subject: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()


class EmailOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a delivery.

    accepted  the service has it, as `provider_message_id` where it says so
    deferred  not now: the core tries again, after `retry_after_s` where given
    rejected  never: `code` says why, `scope` whose fault it is
    unknown   it may have been accepted: the core sends it again, with the same Message-ID

    `detail` is at most 500 characters and free of secrets and addresses.
    """

    status: Literal["accepted", "deferred", "rejected", "unknown"]
    provider_message_id: str | None = None
    code: str | None = None
    scope: Literal["recipient", "config", "content"] | None = None
    retry_after_s: int | None = None
    detail: str | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """`bytes_max`: the largest MIME message taken; None means unknown. `idempotent`: the service
    itself drops a second delivery of the same key.
    """

    bytes_max: int | None = None
    idempotent: bool = False


class EmailSender(Protocol):
    """One account at one service, open for the life of the process. Since contract 1."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def send(self, message: EmailMessage, key: str) -> EmailOutcome:
        """Deliver once; called in the worker process, outside any transaction, under a deadline.

        `key` is the same on every delivery of this mail. An exception counts as `unknown`.
        """
        ...


class EmailSenderDescriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What `register_email_senders` returns, one per sender; fields as in
    `payments.PaymentProviderDescriptor`. EMAIL_PROVIDER picks one by `name`.
    """

    name: str
    contract: int
    settings: type[msgspec.Struct]
    hosts: Callable[[Any], frozenset[str]]
    open: Callable[[Any, httpx.AsyncClient], AbstractAsyncContextManager[EmailSender]]


def is_mail_address(text: str) -> bool:
    """Whether `text` is one plain address, safe to put into a header: RFC 5321's Mailbox, as far
    as it needs neither quotes nor SMTPUTF8.
    """
    return len(text) <= ADDRESS_LENGTH_MAX and _ADDRESS.fullmatch(text) is not None


def mime(message: EmailMessage) -> bytes:
    """The message as RFC 5322 bytes, for services that take raw MIME: 7-bit clean, CRLF lines.

    The same message gives the same bytes. Raises ValueError on a line break in a header.
    """
    built = MimeMessage(policy=policy.SMTP.clone(cte_type="7bit"))
    sender = Address(display_name=message.sender_name or "", addr_spec=message.sender)
    built["From"] = sender
    built["To"] = Address(addr_spec=message.recipient)
    built["Subject"] = message.subject
    built["Date"] = format_datetime(message.date)
    built["Message-ID"] = message.message_id
    for name, value in message.headers:
        built[name] = value
    built.set_content(message.text, cte="quoted-printable")
    built.add_alternative(message.html, subtype="html", cte="quoted-printable")
    for attachment in message.attachments:
        maintype, _, subtype = attachment.media_type.partition("/")
        built.add_attachment(
            attachment.content,
            maintype=maintype,
            subtype=subtype,
            filename=attachment.filename,
        )
    _fix_boundaries(built, message.message_id)
    return built.as_bytes()


def _fix_boundaries(built: MimeMessage, message_id: str) -> None:
    """Part boundaries that follow from the Message-ID instead of from chance."""
    for number, part in enumerate(built.walk()):
        if part.is_multipart():
            seed = f"{message_id}\0{number}".encode()
            part.set_boundary(f"=_{hashlib.sha256(seed).hexdigest()[:40]}")
