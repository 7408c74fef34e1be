"""What Mailgun's messages.mime takes and answers (v3, as of November 2026)."""

import hashlib
import re
from types import MappingProxyType
from typing import Final

import httpx
import msgspec

from abaxus_core.plugin.email import MIME_FIELDS, EmailOutcome, detail_of
from abaxus_core.plugin.email_http import Rules
from abaxus_core.plugin.http import decoded
from abaxus_core.plugin.settings import Secret

BYTES_MAX: Final = 25_000_000
RULES: Final = Rules(
    rejected=MappingProxyType({400: "content", 401: "config", 403: "config", 413: "content"}),
    deferred=frozenset({404, 429, 500}),
)
"""404 is a domain that Mailgun does not know, or does not know yet."""
UNTRACKED: Final = {"o:tracking": "no", "o:tracking-clicks": "no", "o:tracking-opens": "no"}
FIELDS: Final = MIME_FIELDS | {
    "to",
    "message",
    "o:tracking",
    "o:tracking-clicks",
    "o:tracking-opens",
}
"""All that is sent, by name."""
HEADERS: Final = frozenset({"authorization", "content-type"})

_ABOUT_RECIPIENT: Final = re.compile(r"'?to'? parameter", re.IGNORECASE)


class Answer(msgspec.Struct, frozen=True):
    message: str
    id: str = ""


def boundary(content: bytes) -> str:
    """A boundary that follows from what it bounds: the same mail is the same request."""
    return f"abaxus-{hashlib.sha256(content).hexdigest()}"


def outcome(answer: httpx.Response, api_key: Secret) -> EmailOutcome:
    if answer.status_code == 200:
        return _taken(msgspec.json.decode(answer.content, type=Answer), api_key)
    said = decoded(answer, Answer)
    message = said.message if said else ""
    found = RULES.outcome(answer, detail=detail_of(message, api_key) or None)
    if answer.status_code == 400 and _ABOUT_RECIPIENT.search(message):
        return msgspec.structs.replace(found, scope="recipient")
    return found


def _taken(said: Answer, api_key: Secret) -> EmailOutcome:
    """Only "Queued" is; a 200 that says anything else has been seen to be none."""
    if said.message.startswith("Queued") and said.id:
        return EmailOutcome(status="accepted", provider_message_id=said.id)
    return EmailOutcome(
        status="unknown", code="not_queued", detail=detail_of(said.message, api_key) or None
    )
