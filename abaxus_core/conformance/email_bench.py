"""What the checks of email senders work with: the mail, what may happen to it, and its two ends."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal, Protocol

import httpx
import msgspec

from abaxus_core.conformance import mail_content
from abaxus_core.conformance.http_peer import Answer, Fault, HttpPeer
from abaxus_core.conformance.mail_content import Leaf
from abaxus_core.plugin import email
from abaxus_core.plugin.email import Attachment, EmailMessage, EmailOutcome, EmailSender

HTTP_TIMEOUT_MS: Final = 5_000
DEADLINE_MS: Final = 10_000
"""In place of the core's deadline: what takes longer counts as `unknown`."""
SILENCE_HTTP_TIMEOUT_MS: Final = 300
SILENCE_DEADLINE_MS: Final = 600
RETRY_AFTER_S: Final = 7
TEXT_LENGTH_MAX: Final = 255

KEY: Final = "key_01JCONFORMANCE"
MESSAGE: Final = EmailMessage(
    message_id="<eml_01JMAIL@seller.example>",
    date=datetime(2026, 5, 10, 12, tzinfo=UTC),
    sender="billing@seller.example",
    sender_name="Müller, Söhne & Co",
    recipient="payer@customer.example",
    subject="Rechnung INV-000001 für März",
    text="Guten Tag,\n\nfällig sind 157.75 EUR.\n",
    html='<p>Guten Tag, fällig sind 157.75 EUR. <a href="https://seller.example/x">Öffnen</a></p>\n',
    headers=(("Auto-Submitted", "auto-generated"),),
    attachments=(
        Attachment(
            filename="Rechnung für März.pdf",
            media_type="application/pdf",
            content=b"%PDF-1.7 " + bytes(range(256)) * 8,
        ),
    ),
)
OTHER: Final = msgspec.structs.replace(
    MESSAGE,
    message_id="<eml_01JOTHER@seller.example>",
    recipient="other@customer.example",
    subject="Rechnung INV-000002",
)

Situation = Literal[
    "accept",
    "refuse_recipient",
    "refuse_content",
    "refuse_config",
    "defer",
    "absent",
    "closes_unread",
    "closes_after_reading",
    "silent",
    "not_http",
    "half",
    "nonsense",
    "redirect",
]
REFUSALS: Final[Mapping[Situation, str]] = MappingProxyType(
    {"refuse_recipient": "recipient", "refuse_content": "content", "refuse_config": "config"}
)
NEVER_SENT: Final[tuple[Situation, ...]] = ("absent", "closes_unread")
NEVER_KNOWN: Final[tuple[Situation, ...]] = (
    "closes_after_reading", "silent", "not_http", "half", "nonsense", "redirect",
)  # fmt: skip
SITUATIONS: Final[tuple[Situation, ...]] = (
    "accept", *REFUSALS, "defer", *NEVER_SENT, *NEVER_KNOWN,
)  # fmt: skip

ADDRESS: Final = re.compile(r"[\w.+-]+@[\w.-]+\w")


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What reached the service: the protocol's headers (not the mail's), and the content."""

    media_type: str
    body: bytes
    headers: Mapping[str, str] = {}

    def leaves(self) -> list[Leaf]:
        return mail_content.leaves(self.media_type, self.body)


class Service(Protocol):
    """The sender's other end, on this machine. `environ` leads the sender to it; `network` is what
    its HTTP client is to use, None where it uses none.
    """

    environ: Mapping[str, str]
    network: httpx.AsyncBaseTransport | None

    def will(self, situation: Situation) -> None:
        """From now on, answer so."""
        ...

    @property
    def delivered(self) -> Sequence[Delivered]:
        """Every mail that was handed over so far, whatever was answered."""
        ...


@dataclass
class Bench:
    """A sender, opened as the core opens it, and its service."""

    sender: EmailSender
    settings: msgspec.Struct
    service: Service
    http: httpx.AsyncClient
    asked: list[str]
    """Every host that `http` was asked for."""
    elsewhere: list[str]
    """Every host off this machine that anything tried to reach."""
    deadline_ms: int = DEADLINE_MS

    async def send(self, message: EmailMessage = MESSAGE, key: str = KEY) -> EmailOutcome:
        """The outcome as the core sees it."""
        try:
            async with asyncio.timeout(self.deadline_ms / 1000):
                outcome: object = await self.sender.send(message, key)
        except Exception as error:  # noqa: BLE001 - as the core does: whatever it is, nobody knows
            return EmailOutcome(status="unknown", code=f"raised_{type(error).__name__}")
        assert isinstance(outcome, EmailOutcome), f"send returned {type(outcome).__name__}"
        _assert_well_formed(outcome)
        return outcome

    async def send_when(self, situation: Situation) -> EmailOutcome:
        silent = situation == "silent"
        self.deadline_ms = SILENCE_DEADLINE_MS if silent else DEADLINE_MS
        timeout_ms = SILENCE_HTTP_TIMEOUT_MS if silent else HTTP_TIMEOUT_MS
        self.http.timeout = httpx.Timeout(timeout_ms / 1000)
        self.service.will(situation)
        return await self.send()

    def leaves(self) -> list[Leaf]:
        """Of the one mail that arrived."""
        (delivered,) = self.service.delivered
        return delivered.leaves()


class HttpService:
    """A Service whose answers are given, spoiled as the situation wants."""

    def __init__(
        self, environ: Mapping[str, str], peer: HttpPeer, answers: Mapping[Situation, Answer]
    ) -> None:
        self.environ = environ
        self.network: httpx.AsyncBaseTransport | None = peer.network()
        self._peer = peer
        self._answers = answers

    def will(self, situation: Situation) -> None:
        self._peer.fault = _FAULTS.get(situation)
        self._peer.answer = self._answer(situation)

    @property
    def delivered(self) -> Sequence[Delivered]:
        return [
            Delivered(
                media_type=one.headers.get("content-type", ""), body=one.body, headers=one.headers
            )
            for one in self._peer.received
        ]

    def _answer(self, situation: Situation) -> Answer:
        if situation == "defer":
            answer = self._answers["defer"]
            headers = {**answer.headers, "Retry-After": str(RETRY_AFTER_S)}
            return msgspec.structs.replace(answer, headers=headers)
        return _SPOILED.get(situation) or self._answers.get(situation) or self._answers["accept"]


_FAULTS: Final[Mapping[Situation, Fault]] = MappingProxyType(
    {
        "absent": "absent",
        "closes_unread": "closes_unread",
        "closes_after_reading": "closes_after_reading",
        "silent": "silent",
        "not_http": "not_http",
        "half": "half",
    }
)
_SPOILED: Final[Mapping[Situation, Answer]] = MappingProxyType(
    {
        "nonsense": Answer(
            status=200, headers={"Content-Type": "text/html"}, body=b"<h1>Log in to our Wi-Fi</h1>"
        ),
        "redirect": Answer(status=302, headers={"Location": "https://elsewhere.example/"}),
    }
)


def _assert_well_formed(outcome: EmailOutcome) -> None:
    msgspec.json.decode(msgspec.json.encode(outcome), type=EmailOutcome)
    assert len(outcome.detail or "") <= email.DETAIL_LENGTH_MAX
    assert len(outcome.provider_message_id or "") <= TEXT_LENGTH_MAX
    assert len(outcome.code or "") <= TEXT_LENGTH_MAX
    if outcome.status == "rejected":
        assert outcome.code, "a rejection says why"
        assert outcome.scope, "a rejection says whose fault it is"
