"""A payment provider on the bench: opened as the core opens it, its answers read as the core reads
them, and what each situation may be taken for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

import msgspec

from abaxus_core.conformance.transport import Reply, Sent, Stage
from abaxus_core.plugin.payments import (
    ChargeRequest,
    FrozenRequest,
    NotFound,
    Outcome,
    PaymentProvider,
    Status,
)

KEY: Final = "5e3f2a34-8f0e-4d0b-9a25-6d2f5d1f7c11"
OTHER_KEY: Final = "0c4f5a57-19f8-4b69-8a3f-2f6f5d9c0e77"
REQUEST: Final = ChargeRequest(
    attempt_id=UUID("7d1f7c11-3b44-4c59-9d7e-1f2a3b4c5d6e"),
    amount=Decimal("157.75"),
    currency="EUR",
    customer_ref="cus_conformance",
    payment_method_ref="pm_conformance",
)
DETAIL_LENGTH_MAX: Final = 500

Situation = Literal[
    "success",
    "wrong_amount",
    "declined",
    "requires_action",
    "pending",
    "invalid_request",
    "bad_credentials",
    "rate_limited",
    "key_in_use",
    "key_reused",
    "server_error",
    "unheard_status",
]
"""What a charge may meet. `wrong_amount`: taken, but another amount than asked; `key_in_use`: the
first send is still under way; `key_reused`: the key belongs to another request; `unheard_status`: a
payment in a status that the plugin has never heard of.
"""
LookUp = Literal[
    "fetched", "found", "not_found", "cancelled", "cancelled_too_late", "refunded", "valid"
]
"""What the calls of optional capabilities are answered; the payment is the one of `success`."""

REQUIRED: Final[frozenset[Situation]] = frozenset(
    {
        "success",
        "wrong_amount",
        "declined",
        "invalid_request",
        "bad_credentials",
        "server_error",
        "unheard_status",
    }
)
"""Every service over HTTP has these."""

Allowed = tuple[frozenset[Status], frozenset[Status]]


def _allowed(first: str, repeated: str) -> Allowed:
    words = msgspec.convert((first.split(), repeated.split()), tuple[list[Status], list[Status]])
    return frozenset(words[0]), frozenset(words[1])


ALLOWED: Final[Mapping[Situation, Allowed]] = MappingProxyType(
    {
        "declined": _allowed("declined", "declined unknown"),
        "requires_action": _allowed("requires_action", "requires_action unknown"),
        "pending": _allowed("pending", "pending unknown"),
        "invalid_request": _allowed("rejected unknown", "rejected unknown"),
        "bad_credentials": _allowed("rejected unknown", "unknown"),
        "rate_limited": _allowed("transient unknown", "unknown"),
        "key_in_use": _allowed("unknown", "unknown"),
        "key_reused": _allowed("unknown", "unknown"),
        "server_error": _allowed("unknown", "unknown"),
        "unheard_status": _allowed("unknown", "unknown"),
    }
)
"""What each situation may be taken for, on the first send and on a repeated one."""


@dataclass
class Bench:
    """A provider, and the stage that answers it."""

    provider: PaymentProvider
    settings: msgspec.Struct
    stage: Stage
    elsewhere: list[str]
    """Hosts it tried to reach by sockets of its own."""
    asked: list[str] = field(default_factory=list)
    """Hosts it asked its HTTP client for."""
    at_opening: list[Sent] = field(default_factory=list)
    """What it sent before it was asked anything."""

    async def charge(
        self, frozen: FrozenRequest, *, replay: bool = False, reply: Reply | None = None
    ) -> Outcome:
        """The outcome as the core sees it: an exception is `unknown`."""
        self.stage.reply = reply or self.stage.reply
        try:
            outcome: object = await self.provider.charge(frozen, KEY, replay=replay)
        except Exception as error:  # noqa: BLE001 - as the core does: money may have moved
            return Outcome(status="unknown", code=f"raised_{type(error).__name__}")
        return _well_formed(outcome)

    async def fetch(self, provider_ref: str, frozen: FrozenRequest, reply: Reply) -> Outcome:
        self.stage.reply = reply
        try:
            return _well_formed(await self.provider.fetch(provider_ref, frozen))
        except Exception as error:  # noqa: BLE001 - as the core does
            return Outcome(status="unknown", code=f"raised_{type(error).__name__}")

    async def find(
        self, frozen: FrozenRequest, attempt_id: UUID, sent_at: datetime, reply: Reply
    ) -> Outcome | NotFound:
        self.stage.reply = reply
        try:
            found: object = await self.provider.find(
                attempt_id, frozen, sent_from=sent_at, sent_until=sent_at
            )
        except Exception as error:  # noqa: BLE001 - as the core does
            return Outcome(status="unknown", code=f"raised_{type(error).__name__}")
        return found if isinstance(found, NotFound) else _well_formed(found)

    @property
    def last(self) -> Sent:
        return self.stage.sent[-1]


def _well_formed(outcome: object) -> Outcome:
    assert isinstance(outcome, Outcome), f"it returned {type(outcome).__name__}, no Outcome"
    msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome)
    assert len(outcome.detail or "") <= DETAIL_LENGTH_MAX, "`detail` is too long"
    if outcome.status in ("succeeded", "pending"):
        assert outcome.provider_ref, f"{outcome.status} without the payment's reference"
    return outcome
