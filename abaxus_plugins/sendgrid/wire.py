"""What SendGrid's Mail Send takes and answers (v3, as of November 2026)."""

from types import MappingProxyType
from typing import Final

import httpx
import msgspec

from abaxus_core.plugin.email import Attachment, EmailMessage, EmailOutcome, Scope, detail_of
from abaxus_core.plugin.email_http import Rules
from abaxus_core.plugin.http import answered_at, decoded, epoch, seconds_between
from abaxus_core.plugin.settings import Secret

BYTES_MAX: Final = 30_000_000
RULES: Final = Rules(
    rejected=MappingProxyType(
        {400: "content", 401: "config", 403: "config", 404: "config", 405: "config", 413: "content"}
    ),
    deferred=frozenset({429, *range(500, 600)}),
)
UNTRACKED: Final = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
    "ganalytics": {"enable": False},
}
FIELDS: Final = frozenset(
    {
        "personalizations[].to[].email",
        "from.email",
        "from.name",
        "subject",
        "content[].type",
        "content[].value",
        "headers.Message-ID",
        "headers.Auto-Submitted",
        "custom_args.abaxus_email_id",
        "attachments[].content",
        "attachments[].type",
        "attachments[].filename",
        "attachments[].disposition",
        "tracking_settings.click_tracking.enable",
        "tracking_settings.click_tracking.enable_text",
        "tracking_settings.open_tracking.enable",
        "tracking_settings.subscription_tracking.enable",
        "tracking_settings.ganalytics.enable",
    }
)
"""All that is sent, by name."""
HEADERS: Final = frozenset({"authorization", "content-type"})


class Fault(msgspec.Struct, frozen=True):
    message: str = ""
    field: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    errors: tuple[Fault, ...]


def body(message: EmailMessage, key: str) -> bytes:
    """The request. `key` goes along as a custom argument: the answer may get lost, and SendGrid's
    event log then names the mail by it.
    """
    sender = {"email": message.sender}
    if message.sender_name:
        sender["name"] = message.sender_name
    request: dict[str, object] = {
        "personalizations": [{"to": [{"email": message.recipient}]}],
        "from": sender,
        "subject": message.subject,
        "content": [
            {"type": "text/plain", "value": message.text},
            {"type": "text/html", "value": message.html},
        ],
        "headers": {"Message-ID": message.message_id, **dict(message.headers)},
        "custom_args": {"abaxus_email_id": key},
        "tracking_settings": UNTRACKED,
    }
    if message.attachments:
        request["attachments"] = [_attachment(one) for one in message.attachments]
    return msgspec.json.encode(request)


def outcome(answer: httpx.Response, api_key: Secret) -> EmailOutcome:
    """Accepted is 202; 200 would be a dry run."""
    if answer.status_code == 202:
        return EmailOutcome(
            status="accepted", provider_message_id=answer.headers.get("x-message-id")
        )
    refusal = decoded(answer, Refusal)
    fault = refusal.errors[0] if refusal and refusal.errors else Fault()
    found = RULES.outcome(answer, detail=detail_of(fault.message, api_key) or None)
    if found.status == "rejected" and answer.status_code == 400:
        return msgspec.structs.replace(found, scope=_scope(fault))
    if found.status == "deferred" and found.retry_after_s is None:
        return msgspec.structs.replace(found, retry_after_s=_reset_after_s(answer))
    return found


def _attachment(attachment: Attachment) -> dict[str, object]:
    return {
        "content": attachment.content,
        "type": attachment.media_type,
        "filename": attachment.filename,
        "disposition": "attachment",
    }


def _scope(fault: Fault) -> Scope:
    named = fault.field or ""
    if named.startswith("personalizations") and ".to" in named:
        return "recipient"
    return "config" if named.startswith("from") else "content"


def _reset_after_s(answer: httpx.Response) -> int | None:
    """X-RateLimit-Reset is seconds since 1970; held against the answer's own Date."""
    then, now = epoch(answer.headers.get("x-ratelimit-reset", "")), answered_at(answer)
    return None if then is None or now is None else seconds_between(now, then)
