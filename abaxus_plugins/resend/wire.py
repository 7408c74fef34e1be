"""What Resend's emails endpoint takes and answers (OpenAPI 1.5.0, as of November 2026)."""

import re
from types import MappingProxyType
from typing import Final

import httpx
import msgspec

from abaxus_core.plugin.email import EmailMessage, EmailOutcome, Scope, detail_of, mailbox
from abaxus_core.plugin.email_http import Rules
from abaxus_core.plugin.http import decoded, retry_after_s
from abaxus_core.plugin.settings import Secret

BYTES_MAX: Final = 40_000_000
RULES: Final = Rules(
    rejected=MappingProxyType(
        {400: "content", 401: "config", 403: "config", 404: "config", 405: "config", 422: "content"}
    ),
    deferred=frozenset({429, 500}),
)
FIELDS: Final = frozenset(
    {
        "from",
        "to[]",
        "subject",
        "text",
        "html",
        "headers.Message-ID",
        "headers.Auto-Submitted",
        "tags[].name",
        "tags[].value",
        "attachments[].filename",
        "attachments[].content",
        "attachments[].content_type",
    }
)
"""All that is sent, by name."""
HEADERS: Final = frozenset({"authorization", "content-type", "idempotency-key"})

_ABOUT_RECIPIENT: Final = re.compile(r"[`'\"]to[`'\"]")
_ABOUT_SENDER: Final = re.compile(r"[`'\"]from[`'\"]")


class Accepted(msgspec.Struct, frozen=True):
    id: str


class Refusal(msgspec.Struct, frozen=True):
    name: str
    message: str = ""


def body(message: EmailMessage, key: str) -> bytes:
    """The request; `key` is shown as a tag in Resend's log."""
    request: dict[str, object] = {
        "from": mailbox(message.sender, message.sender_name),
        "to": [message.recipient],
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "headers": {"Message-ID": message.message_id, **dict(message.headers)},
        "tags": [{"name": "abaxus_email_id", "value": key}],
    }
    if message.attachments:
        request["attachments"] = [
            {"filename": one.filename, "content": one.content, "content_type": one.media_type}
            for one in message.attachments
        ]
    return msgspec.json.encode(request)


def outcome(answer: httpx.Response, api_key: Secret) -> EmailOutcome:
    if answer.status_code == 200:
        accepted = msgspec.json.decode(answer.content, type=Accepted)
        return EmailOutcome(status="accepted", provider_message_id=accepted.id)
    said = decoded(answer, Refusal)
    if said is None:
        return RULES.outcome(answer)
    code, detail = said.name, detail_of(said.message, api_key) or None
    if answer.status_code == 409:
        return _conflict(answer, code, detail)
    found = RULES.outcome(answer, code=code, detail=detail)
    if found.scope == "content":
        return msgspec.structs.replace(found, scope=_scope(said))
    return found


def _conflict(answer: httpx.Response, code: str, detail: str | None) -> EmailOutcome:
    """Of the key: in use just now, or used before for another mail."""
    match code:
        case "concurrent_idempotent_requests":
            after_s = retry_after_s(answer)
            return EmailOutcome(status="deferred", code=code, retry_after_s=after_s, detail=detail)
        case "invalid_idempotent_request":
            return EmailOutcome(status="rejected", code=code, scope="content", detail=detail)
        case _:
            return EmailOutcome(status="unknown", code=code, detail=detail)


def _scope(said: Refusal) -> Scope:
    if said.name == "invalid_from_address" or _ABOUT_SENDER.search(said.message):
        return "config"
    return "recipient" if _ABOUT_RECIPIENT.search(said.message) else "content"
