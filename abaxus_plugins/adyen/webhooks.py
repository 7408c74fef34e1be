"""Adyen's standard notifications: each item signed with the HMAC key of the webhook.

Source: docs.adyen.com/development-resources/webhooks/verify-hmac-signatures and Adyen's Python
library (util.py), read 2026-08. For us an authorisation is final: the account captures by itself.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from abaxus_core.plugin.payments import Outcome, ProviderEvent, WebhookRefused
from abaxus_plugins.adyen import amounts
from abaxus_plugins.adyen.settings import WebhookKey
from abaxus_plugins.adyen.wire import Amount

ITEMS_MAX: Final = 100

_ATTEMPT: Final = re.compile(r"[0-9a-f]{32}")


class Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One event. `reason` is for people and is not read."""

    event_code: str
    success: str
    psp_reference: str
    merchant_account_code: str
    merchant_reference: str = ""
    original_reference: str = ""
    amount: Amount
    additional_data: dict[str, str] = {}


class _Wrapped(msgspec.Struct, frozen=True, kw_only=True):
    item: Item = msgspec.field(name="NotificationRequestItem")


class _Notification(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    notification_items: list[_Wrapped]


def parse(body: bytes, key: WebhookKey, merchant: str) -> Sequence[ProviderEvent]:
    """What the notification tells of attempts. Raises WebhookRefused if an item is not signed."""
    try:
        notification = msgspec.json.decode(body, type=_Notification)
    except msgspec.MsgspecError as error:
        raise WebhookRefused("not a notification") from error
    items = [wrapped.item for wrapped in notification.notification_items[:ITEMS_MAX]]
    for item in items:
        _verify(item, key)
    events = [_event(item) for item in items if item.merchant_account_code == merchant]
    return [event for event in events if event is not None]


def signature(item: Item, key: WebhookKey) -> str:
    """What Adyen signs of an item, and how."""
    signed = ":".join(
        (
            item.psp_reference,
            item.original_reference,
            item.merchant_account_code,
            item.merchant_reference,
            str(item.amount.value),
            item.amount.currency,
            item.event_code,
            item.success,
        )
    )
    digest = hmac.new(bytes.fromhex(key.reveal()), signed.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _verify(item: Item, key: WebhookKey) -> None:
    given = item.additional_data.get("hmacSignature", "")
    if not hmac.compare_digest(signature(item, key).encode(), given.encode()):
        raise WebhookRefused("not signed with this key")


def _event(item: Item) -> ProviderEvent | None:
    if _ATTEMPT.fullmatch(item.merchant_reference) is None:
        return None
    outcome = _outcome(item)
    attempt_id = UUID(hex=item.merchant_reference)
    return None if outcome is None else ProviderEvent(attempt_id=attempt_id, outcome=outcome)


def _outcome(item: Item) -> Outcome | None:
    match item.event_code, item.success:
        case "AUTHORISATION", "true":
            return Outcome(
                status="succeeded",
                provider_ref=item.psp_reference,
                echoed_amount=amounts.to_major(item.amount.value, item.amount.currency),
                echoed_currency=item.amount.currency,
            )
        case "AUTHORISATION", "false":
            return Outcome(status="declined", provider_ref=item.psp_reference, code="declined")
        case "CANCELLATION", "true":
            return Outcome(
                status="declined", provider_ref=item.original_reference or None, code="canceled"
            )
        case _:
            return None
