"""Ending what an attempt left at its provider, so that nobody completes it beside a later one.

Best effort: the attempt itself is settled, or waits for its payer or an operator, either way.
"""

from typing import Final, cast

from abaxus_core.domain.payments import PaymentState
from abaxus_core.errors import ProviderUnavailable
from abaxus_core.plugin.payments import CancellingProvider
from abaxus_core.repositories import payments
from abaxus_core.services import attempts, charge_requests, provider_calls
from abaxus_core.services.jobs import EndLeftover
from abaxus_core.services.work import SYSTEM, Context, perform

ENDED: Final[frozenset[PaymentState]] = frozenset({"declined", "requires_action", "needs_operator"})


async def end(context: Context, order: EndLeftover) -> None:
    """Cancel the payment at its provider, where that can be done, and store what it now is.

    Raises ProviderUnavailable when there was no answer: the same cancellation may be tried again.
    """
    async with context.database.connection() as conn:
        payment = await payments.get(conn, order.payment_id)
        request = await payments.request(conn, order.payment_id)
    assert payment is not None, "payments are never deleted"
    provider = context.payment_providers.get(payment.provider)
    if provider is None or charge_requests.trouble(payment, provider) is not None:
        return
    if payment.state not in ENDED or not provider.capabilities.cancel:
        return
    cancelling = cast("CancellingProvider", provider)
    outcome = await provider_calls.cancel(cancelling, payment, request, str(order.key))
    if outcome.code in provider_calls.NO_ANSWER:
        raise ProviderUnavailable(f"no answer to the cancellation of {payment.id}")
    if outcome.status in ("succeeded", "declined"):
        await perform(context, SYSTEM, lambda work: attempts.learn(work, payment, outcome))
