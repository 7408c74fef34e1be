"""What SES's SendEmail takes and answers (API version 2, 2019-09-27)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import httpx
import msgspec

from abaxus_core.plugin.email import MIME_FIELDS, EmailMessage, EmailOutcome, Scope, detail_of
from abaxus_core.plugin.email_http import Rules
from abaxus_core.plugin.http import decoded
from abaxus_core.plugin.settings import Secret

PATH: Final = "/v2/email/outbound-emails"
BYTES_MAX: Final = 40_000_000
RULES: Final = Rules(
    rejected=MappingProxyType({403: "config", 404: "config"}),
    deferred=frozenset({429, *range(500, 600)}),
)
REFUSALS: Final[Mapping[str, Scope]] = MappingProxyType(
    {
        "AccountSuspendedException": "config",
        "BadRequestException": "content",
        "LimitExceededException": "config",
        "MailFromDomainNotVerifiedException": "config",
        "MessageRejected": "content",
        "SendingPausedException": "config",
    }
)
"""What the errors with status 400 are about."""
THROTTLED: Final = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException"})
NOT_VERIFIED: Final = "not verified"
FIELDS: Final = MIME_FIELDS | {
    "FromEmailAddress",
    "Destination.ToAddresses[]",
    "Content.Raw.Data",
    "EmailTags[].Name",
    "EmailTags[].Value",
    "ConfigurationSetName",
}
"""All that is sent, by name."""
HEADERS: Final = frozenset({"authorization", "content-type", "x-amz-date", "x-amz-security-token"})


class Accepted(msgspec.Struct, frozen=True):
    message_id: str = msgspec.field(name="MessageId")


class Refusal(msgspec.Struct, frozen=True):
    """SES writes `message` or `Message`; the error's name is in a header or in `__type`."""

    message: str = ""
    capital_message: str = msgspec.field(default="", name="Message")
    kind: str = msgspec.field(default="", name="__type")


def body(message: EmailMessage, content: bytes, key: str, configuration_set: str | None) -> bytes:
    """The request around the MIME `content`; `key` goes along as a tag, for SES makes a Message-ID
    of its own.
    """
    request: dict[str, object] = {
        "FromEmailAddress": message.sender,
        "Destination": {"ToAddresses": [message.recipient]},
        "Content": {"Raw": {"Data": content}},
        "EmailTags": [{"Name": "abaxus_email_id", "Value": key}],
    }
    if configuration_set is not None:
        request["ConfigurationSetName"] = configuration_set
    return msgspec.json.encode(request)


def outcome(answer: httpx.Response, *secrets: Secret | None) -> EmailOutcome:
    if answer.status_code == 200:
        accepted = msgspec.json.decode(answer.content, type=Accepted)
        return EmailOutcome(status="accepted", provider_message_id=accepted.message_id)
    said = decoded(answer, Refusal) or Refusal()
    name = _name(answer, said)
    message = said.message or said.capital_message
    detail = detail_of(message, *secrets) or None
    if answer.status_code == 400 and name in THROTTLED:
        return EmailOutcome(status="deferred", code=name, detail=detail)
    if answer.status_code == 400 and name in REFUSALS:
        scope = "config" if NOT_VERIFIED in message else REFUSALS[name]
        return EmailOutcome(status="rejected", code=name, scope=scope, detail=detail)
    return RULES.outcome(answer, code=name or None, detail=detail)


def _name(answer: httpx.Response, said: Refusal) -> str:
    """The bare name out of `MessageRejected:http://…` or `com.amazonaws.ses#MessageRejected`."""
    text: str = answer.headers.get("x-amzn-errortype") or said.kind
    return text.partition(":")[0].rpartition("#")[2][:100]
