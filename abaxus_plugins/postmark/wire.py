"""What Postmark's email endpoint takes and answers (as of November 2026)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import httpx
import msgspec

from abaxus_core.plugin.email import (
    EmailMessage,
    EmailOutcome,
    Scope,
    bounded,
    detail_of,
    mailbox,
)
from abaxus_core.plugin.email_http import Rules
from abaxus_core.plugin.http import decoded
from abaxus_core.plugin.settings import Secret

BYTES_MAX: Final = 10_000_000
BODY_BYTES_MAX: Final = 5_000_000
RULES: Final = Rules(
    rejected=MappingProxyType({401: "config", 413: "content"}),
    deferred=frozenset({429, 500, 503}),
)
MAINTENANCE: Final = 100
REFUSALS: Final[Mapping[int, Scope]] = MappingProxyType(
    {
        300: "content",
        400: "config",
        401: "config",
        405: "config",
        406: "recipient",
        411: "content",
        412: "config",
        413: "config",
    }
)
"""What the ErrorCode of a 422 is about: 300 the request, 400 and 401 the sender's signature, 405,
412 and 413 the account, 406 an inactive recipient, 411 a type of attachment."""
FIELDS: Final = frozenset(
    {
        "From",
        "To",
        "Subject",
        "TextBody",
        "HtmlBody",
        "Headers[].Name",
        "Headers[].Value",
        "MessageStream",
        "TrackOpens",
        "TrackLinks",
        "Metadata.abaxus_email_id",
        "Attachments[].Name",
        "Attachments[].Content",
        "Attachments[].ContentType",
    }
)
"""All that is sent, by name."""
HEADERS: Final = frozenset({"x-postmark-server-token", "content-type"})


class Answer(msgspec.Struct, frozen=True, rename="pascal"):
    error_code: int
    message: str = ""
    message_id: str | None = msgspec.field(default=None, name="MessageID")


def check_bodies(message: EmailMessage) -> None:
    """Raise Unsendable where one of the bodies is larger than Postmark takes."""
    bounded(message.text.encode(), BODY_BYTES_MAX)
    bounded(message.html.encode(), BODY_BYTES_MAX)


def body(message: EmailMessage, key: str, stream: str) -> bytes:
    """The request. X-PM-KeepID keeps the Message-ID; `key` is shown in Postmark's activity."""
    headers = [("Message-ID", message.message_id), ("X-PM-KeepID", "true"), *message.headers]
    request: dict[str, object] = {
        "From": mailbox(message.sender, message.sender_name),
        "To": message.recipient,
        "Subject": message.subject,
        "TextBody": message.text,
        "HtmlBody": message.html,
        "Headers": [{"Name": name, "Value": value} for name, value in headers],
        "MessageStream": stream,
        "TrackOpens": False,
        "TrackLinks": "None",
        "Metadata": {"abaxus_email_id": key},
    }
    if message.attachments:
        request["Attachments"] = [
            {"Name": one.filename, "Content": one.content, "ContentType": one.media_type}
            for one in message.attachments
        ]
    return msgspec.json.encode(request)


def outcome(answer: httpx.Response, token: Secret) -> EmailOutcome:
    if answer.status_code == 200:
        return _taken(msgspec.json.decode(answer.content, type=Answer), token)
    said = decoded(answer, Answer)
    if said is None:
        return RULES.outcome(answer)
    code, detail = f"error_{said.error_code}", detail_of(said.message, token) or None
    if said.error_code == MAINTENANCE:
        return EmailOutcome(status="deferred", code=code, detail=detail)
    if answer.status_code == 422 and said.error_code in REFUSALS:
        scope = REFUSALS[said.error_code]
        return EmailOutcome(status="rejected", code=code, scope=scope, detail=detail)
    return RULES.outcome(answer, code=code, detail=detail)


def _taken(said: Answer, token: Secret) -> EmailOutcome:
    if said.error_code == 0 and said.message_id:
        return EmailOutcome(status="accepted", provider_message_id=said.message_id)
    detail = detail_of(said.message, token) or None
    return EmailOutcome(status="unknown", code=f"error_{said.error_code}", detail=detail)
