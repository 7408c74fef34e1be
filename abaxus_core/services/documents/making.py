"""Documents of an invoice: its page, its PDF, and what a mail says of it.

The same invoice, parties and settings give the same bytes, on any replica, at any time.
"""

import base64
import hashlib
from typing import Final

import msgspec

from abaxus_core.domain.invoices import Invoice
from abaxus_core.domain.parties import Parties
from abaxus_core.errors import InvalidInput
from abaxus_core.services.documents.press import Press
from abaxus_core.services.documents.templates import MAIL_HTML, MAIL_TEXT, Templates
from abaxus_core.services.documents.view import InvoiceView, Manner, present

ROWS_MAX: Final = 2_000
"""Lines of a document, and their tiers where all fit; a row takes some 45 KB while it is set."""
MAIL_ROWS_MAX: Final = 100
"""The same of a mail's own text; the PDF attached to it has them all."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a document is about. `test`: it is of test mode, and says so."""

    invoice: Invoice
    parties: Parties
    test: bool


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """`style`: the style sheet within, by the digest that a content security policy names."""

    content: bytes
    style: str


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    subject: str
    text: str
    html: str


class Documents:
    """One per process."""

    def __init__(self, templates: Templates, manner: Manner, press: Press) -> None:
        self._templates = templates
        self._manner = manner
        self._press = press
        self._style = _digest(templates.style)

    async def page(self, subject: Subject) -> Page:
        """Return the invoice as HTML. Raises DOCUMENT_TOO_LONG, DOCUMENTS_BUSY."""
        check_length(subject.invoice)
        return await self._press.run(lambda: self.make_page(subject))

    async def pdf(self, subject: Subject) -> bytes:
        """Return the invoice as PDF. Raises DOCUMENT_TOO_LONG, DOCUMENTS_BUSY."""
        check_length(subject.invoice)
        return await self._press.run(lambda: self.make_pdf(subject))

    def make_page(self, subject: Subject) -> Page:
        """The same, here and now."""
        page = self._templates.page(self._view(subject, ROWS_MAX))
        return Page(content=page.encode(), style=self._style)

    def make_pdf(self, subject: Subject) -> bytes:
        """The same, here and now."""
        return self._templates.printer.print(self._view(subject, ROWS_MAX))

    def make_letter(self, subject: Subject) -> Letter:
        """Return what a mail says of the invoice, in MAIL_ROWS_MAX rows: quick, so no turn."""
        view = self._view(subject, MAIL_ROWS_MAX)
        standing = self._standing(subject.invoice)
        return Letter(
            subject=_title(view),
            text=self._templates.render(MAIL_TEXT, view, standing=standing),
            html=self._templates.render(MAIL_HTML, view, standing=standing),
        )

    def _view(self, subject: Subject, rows_max: int) -> InvoiceView:
        manner = msgspec.structs.replace(self._manner, rows_max=rows_max, test=subject.test)
        return present(subject.invoice, subject.parties, manner)

    def _standing(self, invoice: Invoice) -> str:
        words, figures = self._manner.words, self._manner.figures
        if invoice.status == "paid" and invoice.paid_at is not None:
            return words.paid.format(day=figures.day(invoice.paid_at))
        if invoice.total_minor == 0:
            return words.nothing_due
        return words.amount_due.format(amount=figures.money(invoice.total_minor, invoice.currency))


def check_length(invoice: Invoice) -> None:
    """Raise DOCUMENT_TOO_LONG unless a document holds the invoice's lines."""
    if len(invoice.lines) > ROWS_MAX:
        raise InvalidInput(
            f"the invoice has more lines than a document holds, {ROWS_MAX}",
            code="DOCUMENT_TOO_LONG",
        )


def _title(view: InvoiceView) -> str:
    words, seller = view.words, view.seller.name
    if seller is None:
        return words.subject.format(number=view.number)
    return words.subject_from.format(number=view.number, seller=seller)


def _digest(style: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
