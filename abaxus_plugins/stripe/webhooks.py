"""Stripe's notifications: signed with the secret of the endpoint, of payment intents only.

Source: docs.stripe.com/webhooks and stripe-python's _webhook.py, read 2026-08.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from abaxus_core.plugin.payments import ProviderEvent, WebhookRefused
from abaxus_plugins.stripe import outcomes
from abaxus_plugins.stripe.settings import WebhookSecret
from abaxus_plugins.stripe.wire import Asked, Intent

HEADER: Final = "stripe-signature"
TOLERANCE: Final = timedelta(minutes=5)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HEADER_LENGTH_MAX: Final = 2_000
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    object: Intent


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    data: _Told


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    type: str


def parse(
    headers: Mapping[str, str], body: bytes, secret: WebhookSecret, *, live: bool, now: datetime
) -> Sequence[ProviderEvent]:
    """What the notification tells of an attempt. Raises WebhookRefused."""
    _verify(headers.get(HEADER, ""), body, secret, now)
    try:
        if not msgspec.json.decode(body, type=_Kind).type.startswith("payment_intent."):
            return ()
        intent = msgspec.json.decode(body, type=_Event).data.object
    except msgspec.MsgspecError as error:
        raise WebhookRefused("not an event") from error
    attempt_id = (intent.metadata or {}).get("abaxus_attempt_id", "")
    try:
        attempt = UUID(attempt_id)
    except ValueError:
        return ()
    asked = Asked(id=attempt_id, amount=intent.amount, currency=intent.currency)
    outcome = outcomes.of_intent(intent, asked, live=live)
    return (ProviderEvent(attempt_id=attempt, outcome=outcome),)


def _verify(header: str, body: bytes, secret: WebhookSecret, now: datetime) -> None:
    """`t=<seconds>,v1=<hex>`, more than one v1 while a secret is being rolled."""
    parts = [part.partition("=") for part in header[:_HEADER_LENGTH_MAX].split(",")]
    at = next((value for name, _, value in parts if name == "t"), "")
    if _SECONDS.fullmatch(at) is None:
        raise WebhookRefused("no timestamp")
    if abs(now - (_EPOCH + timedelta(seconds=int(at)))) > TOLERANCE:
        raise WebhookRefused("too old")
    key = secret.reveal().encode()
    wanted = hmac.new(key, at.encode() + b"." + body, hashlib.sha256).hexdigest().encode()
    signatures = [value.encode() for name, _, value in parts if name == "v1"]
    if not any(hmac.compare_digest(wanted, signature) for signature in signatures):
        raise WebhookRefused("not signed with this secret")
