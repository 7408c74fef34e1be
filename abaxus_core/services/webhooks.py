"""What payment providers tell by themselves: a short cut to what would be looked up anyway.

The plugin verifies who tells it. Nothing here depends on an event coming, coming once, or coming
in order: it is stored by compare-and-set, as an answer is, and what is settled stays settled.
"""

from collections.abc import Mapping
from typing import Final, cast

import structlog

from abaxus_core.errors import Forbidden, NotFound
from abaxus_core.plugin.payments import (
    PaymentProvider,
    ProviderEvent,
    TellingProvider,
    WebhookRefused,
)
from abaxus_core.repositories import payments
from abaxus_core.services import attempts, charge_requests, provider_calls
from abaxus_core.services.work import SYSTEM, Context, Work, perform

EVENTS_MAX: Final = 100

_log = structlog.get_logger("abaxus.charging")


async def receive(context: Context, name: str, headers: Mapping[str, str], body: bytes) -> None:
    """Store what the request tells. Events of attempts that are not ours are passed over.

    Raises NotFound where the provider has no webhook, Forbidden (SIGNATURE_INVALID).
    """
    provider = context.payment_providers.get(name)
    if provider is None or not provider.capabilities.webhook:
        raise NotFound("no webhook is configured here")
    events = _parsed(context, name, cast("TellingProvider", provider), headers, body)
    for event in events:
        await _take(context, name, provider, event)


def _parsed(
    context: Context,
    name: str,
    provider: TellingProvider,
    headers: Mapping[str, str],
    body: bytes,
) -> list[ProviderEvent]:
    try:
        return [*provider.parse_webhook(headers, body, now=context.clock())][:EVENTS_MAX]
    except WebhookRefused as refused:
        raise _refused() from refused
    except Exception as error:
        # A stranger's code, on input that anybody may send.
        _log.exception("webhook.parse_failed", provider=name)
        raise _refused() from error


def _refused() -> Forbidden:
    return Forbidden("the signature is not the provider's", code="SIGNATURE_INVALID")


async def _take(
    context: Context, name: str, provider: PaymentProvider, event: ProviderEvent
) -> None:
    async def step(work: Work) -> None:
        payment = await payments.get_by_attempt(work.conn, event.attempt_id)
        if payment is None or payment.provider != name:
            return
        if charge_requests.trouble(payment, provider) == "account_changed":
            return
        outcome = provider_calls.told(event.outcome, payment)
        if outcome is not None:
            await attempts.learn(work, payment, outcome)

    await perform(context, SYSTEM, step)
