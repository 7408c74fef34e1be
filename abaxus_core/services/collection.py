"""Collecting what a bulk run issued: charge or mail one invoice, in the background, once.

What a caller of the API would be told as an error stands in the invoice's trail instead. How money
and mail move is charging.py's and mailing.py's.
"""

from abaxus_core.errors import (
    AbaxusError,
    ChargesPaused,
    Conflict,
    PaymentDeclined,
    ProviderUnavailable,
)
from abaxus_core.repositories import emails
from abaxus_core.services import audit, charging, mailing
from abaxus_core.services.jobs import CollectInvoice
from abaxus_core.services.work import Context, Work, perform


async def charge(context: Context, order: CollectInvoice) -> None:
    """Charge the invoice unless somebody has, or is at it; a decline stands on the invoice.

    Raises ProviderUnavailable and ChargesPaused, after which trying again is safe.
    """
    try:
        await charging.charge(context, order.actor, order.invoice_id)
    except (PaymentDeclined, Conflict):
        return
    except (ProviderUnavailable, ChargesPaused):
        raise
    except AbaxusError as error:
        await _record(context, order, "invoice.charge_refused", error)


async def send(context: Context, order: CollectInvoice) -> None:
    """Write the invoice's mail unless one is written already."""

    async def step(work: Work) -> None:
        if not await emails.latest_of_invoices(work.conn, [order.invoice_id]):
            await mailing.send(context, work, order.invoice_id)

    try:
        await perform(context, order.actor, step)
    except Conflict:
        return
    except AbaxusError as error:
        await _record(context, order, "invoice.send_refused", error)


async def _record(context: Context, order: CollectInvoice, action: str, error: AbaxusError) -> None:
    async def step(work: Work) -> None:
        await audit.record(
            work,
            action=action,
            object_type="invoice",
            object_id=order.invoice_id,
            data={"code": error.code, "message": error.message},
        )

    await perform(context, order.actor, step)
