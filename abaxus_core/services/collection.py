"""Collecting what a bulk run issued: charge or mail one invoice, in the background, once.

What the caller of the API would be told as an error is told by the invoice itself here. How money
and mail move is charging.py's and mailing.py's.
"""

from abaxus_core.errors import Conflict, PaymentDeclined
from abaxus_core.repositories import emails
from abaxus_core.services import charging, mailing
from abaxus_core.services.jobs import CollectInvoice
from abaxus_core.services.work import Context, Work, perform


async def charge(context: Context, order: CollectInvoice) -> None:
    """Charge the invoice unless somebody has, or is about to; a decline stands on the invoice.

    Raises ProviderUnavailable where trying again is safe, and what makes charging impossible.
    """
    try:
        await charging.charge(context, order.actor, order.invoice_id)
    except (PaymentDeclined, Conflict):
        return


async def send(context: Context, order: CollectInvoice) -> None:
    """Write the invoice's mail unless one is written already."""

    async def step(work: Work) -> None:
        if not await emails.latest_of_invoices(work.conn, [order.invoice_id]):
            await mailing.send(context, work, order.invoice_id)

    await perform(context, order.actor, step)
