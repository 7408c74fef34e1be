"""The documents of a stored invoice: as a page, as a PDF, and as what a mail is about.

They are made outside of any connection, in their turn (services/documents/press.py).
"""

import msgspec

from abaxus_core.domain.invoices import Invoice, number_text
from abaxus_core.errors import InvariantBroken
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import invoices
from abaxus_core.services import invoicing
from abaxus_core.services.documents.making import Page, Subject
from abaxus_core.services.work import Context


class Pdf(msgspec.Struct, frozen=True, kw_only=True):
    filename: str
    content: bytes


async def page(context: Context, invoice_id: str) -> Page:
    """Return the invoice as HTML.

    Raises INVOICE_NOT_FOUND, DOCUMENT_TOO_LONG, DOCUMENTS_BUSY.
    """
    return await context.documents.page(await _subject(context, invoice_id))


async def pdf(context: Context, invoice_id: str) -> Pdf:
    """Return the invoice as PDF. Raises as `page`."""
    subject = await _subject(context, invoice_id)
    return Pdf(
        filename=f"{number_text(subject.invoice.number)}.pdf",
        content=await context.documents.pdf(subject),
    )


async def subject_of(context: Context, conn: Connection, invoice: Invoice) -> Subject:
    """Return what the invoice's documents are about: it, and its parties as they were."""
    parties = await invoices.parties(conn, invoice.id)
    if parties is None:
        raise InvariantBroken(f"{invoice.id} is gone")
    return Subject(invoice=invoice, parties=parties, test=context.mode == "test")


async def _subject(context: Context, invoice_id: str) -> Subject:
    async with context.database.connection() as conn:
        return await subject_of(context, conn, await invoicing.get(conn, invoice_id))
