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

from abaxus_core.plugin.settings import Secret

CONTRACT: Final = 1
"""Of this module. A new optional field leaves it; a removal or a new duty raises it."""

ADDRESS_LENGTH_MAX: Final = 254
"""RFC 5321 section 4.5.3.1.3, less the angle brackets of a path."""

DETAIL_LENGTH_MAX: Final = 500
"""Of EmailOutcome.detail, in characters."""

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")

_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,400}@[!-;=?-~]{1,255}>")
_HEADER_NAME: Final = re.compile(r"[!-9;-~]{1,70}")
_MEDIA_TYPE: Final = re.compile(rf"{_ATOM}/{_ATOM}(?:\.{_ATOM})*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_ANY_ADDRESS: Final = re.compile(r"<?[^\s<>(),;:\"'\[\]]+@[^\s<>(),;:\"'\[\]]+>?")


Scope = Literal["recipient", "config", "content"]
"""Whose fault a rejection is: the address, the operator's account or settings, the mail itself."""


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
    scope: Scope | None = None
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
    `payments.PaymentProviderDescriptor`. EMAIL_PROVIDER picks one by `name`. MIME's fields are in
    MIME_FIELDS.
    """

    name: str
    contract: int
    settings: type[msgspec.Struct]
    hosts: Callable[[Any], frozenset[str]]
    open: Callable[[Any, httpx.AsyncClient], AbstractAsyncContextManager[EmailSender]]
    fields: frozenset[str] = frozenset()
    headers: frozenset[str] = frozenset()


class Unsendable(ValueError):
    """Raised for what is no mail, or too large for the service: nothing was sent."""

    def __init__(self, code: Literal["malformed", "too_large"], message: str) -> None:
        super().__init__(message)
        self.code = code

    def outcome(self) -> EmailOutcome:
        return EmailOutcome(
            status="rejected", code=self.code, scope="content", detail=str(self)[:DETAIL_LENGTH_MAX]
        )


MIME_FIELDS: Final = frozenset(
    f"mime:{name}"
    for name in (
        "from", "to", "subject", "date", "message-id", "mime-version", "content-type",
        "auto-submitted", "body", "filename", "attachment",
    )
)  # fmt: skip
"""What `mime` says, for a descriptor's `fields`."""


def is_mail_address(text: str) -> bool:
    """Whether `text` is one plain address, safe to put into a header: RFC 5321's Mailbox, as far
    as it needs neither quotes nor SMTPUTF8.
    """
    return len(text) <= ADDRESS_LENGTH_MAX and _ADDRESS.fullmatch(text) is not None


def check(message: EmailMessage) -> None:
    """Raise Unsendable where the message could say more than it says: a line break or another
    control character in a header, more than one address. `mime` does it, too; call it where the
    service makes the mail.
    """
    headers = [value for _, value in message.headers]
    words = [message.subject, message.sender_name or "", *headers]
    if any(map(_CONTROL.search, words)):
        raise Unsendable("malformed", "a header has a control character in it")
    if not all(_HEADER_NAME.fullmatch(name) for name, _ in message.headers):
        raise Unsendable("malformed", "a header's name is none")
    if not (is_mail_address(message.sender) and is_mail_address(message.recipient)):
        raise Unsendable("malformed", "sender and recipient must be one plain address each")
    if not _MESSAGE_ID.fullmatch(message.message_id):
        raise Unsendable("malformed", "the Message-ID is none")
    for attachment in message.attachments:
        if _CONTROL.search(attachment.filename) or not _MEDIA_TYPE.fullmatch(attachment.media_type):
            raise Unsendable("malformed", "an attachment's name or media type is none")


def bounded(content: bytes, bytes_max: int) -> bytes:
    """`content` itself. Raises Unsendable where it is larger than the service takes."""
    if len(content) > bytes_max:
        raise Unsendable("too_large", f"{len(content)} bytes, the service takes {bytes_max}")
    return content


def mailbox(address: str, name: str | None) -> str:
    """`"Seller, Inc." <billing@seller.example>`, for services that take From as one text."""
    return str(Address(display_name=name or "", addr_spec=address))


def detail_of(text: str, *secrets: Secret | None) -> str:
    """What a service said, as it may stand in EmailOutcome.detail: in one line, without addresses
    and these secrets.

    >>> detail_of("550 5.1.1 <a@b.example>:\\r\\nno such user")
    '550 5.1.1 <address>: no such user'
    """
    for secret in secrets:
        if secret is not None:
            text = text.replace(secret.reveal(), "***")
    words = _CONTROL.sub(" ", _ANY_ADDRESS.sub("<address>", text)).split()
    return " ".join(words)[:DETAIL_LENGTH_MAX]


def mime(message: EmailMessage) -> bytes:
    """The message as RFC 5322 bytes, for services that take raw MIME: 7-bit clean, CRLF lines.

    The same message gives the same bytes. Raises Unsendable (`check`).
    """
    check(message)
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
