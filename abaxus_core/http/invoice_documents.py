"""Invoices as they are answered: with their lines, the mail that carries them, a payment."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from abaxus_core.domain import invoices as domain
from abaxus_core.domain import payments
from abaxus_core.domain.invoices import InvoiceStatus, PaymentStatus, number_text
from abaxus_core.http.line_items import LineItem, line_item
from abaxus_core.http.payment_documents import Payment, shown_payment
from abaxus_core.repositories.emails import Mail

MailStatus: TypeAlias = Literal["queued", "sent", "failed"]


class InvoiceMail(msgspec.Struct, frozen=True, kw_only=True):
    """The latest mail of an invoice. `error`: the last one, while it is not sent."""

    id: str
    status: MailStatus
    attempts: int
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """`payment_status` is how the last attempt to collect it stands, null before the first.

    `cutoff` is the end, excluded, up to which usage was looked at.
    """

    id: str
    number: str
    customer_id: str
    status: InvoiceStatus
    payment_status: PaymentStatus | None
    currency: str
    total_amount: int
    period_start: datetime
    period_end: datetime
    cutoff: datetime
    calculation_id: str | None
    line_items: list[LineItem]
    email: InvoiceMail | None
    created_at: datetime
    paid_at: datetime | None
    archived_at: datetime | None
    archive_reason: str | None


class ChargedInvoice(Invoice, frozen=True, kw_only=True):
    """`payment` is null where there was nothing to pay."""

    payment: Payment | None


def shown(invoice: domain.Invoice, mail: Mail | None) -> Invoice:
    """An invoice as it is answered."""
    return Invoice(**_fields(invoice, mail))


def shown_charged(
    invoice: domain.Invoice, mail: Mail | None, payment: payments.Payment | None
) -> ChargedInvoice:
    """An invoice after a charge."""
    return ChargedInvoice(
        **_fields(invoice, mail), payment=None if payment is None else shown_payment(payment)
    )


def _fields(invoice: domain.Invoice, mail: Mail | None) -> dict[str, Any]:
    return {
        "id": invoice.id,
        "number": number_text(invoice.number),
        "customer_id": invoice.customer_id,
        "status": invoice.status,
        "payment_status": invoice.payment_status,
        "currency": invoice.currency,
        "total_amount": invoice.total_minor,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "cutoff": invoice.cutoff,
        "calculation_id": invoice.calculation_id,
        "line_items": [line_item(line) for line in invoice.lines],
        "email": None if mail is None else _mail(mail),
        "created_at": invoice.created_at,
        "paid_at": invoice.paid_at,
        "archived_at": invoice.archived_at,
        "archive_reason": invoice.archive_reason,
    }


def _mail(mail: Mail) -> InvoiceMail:
    return InvoiceMail(
        id=mail.id,
        status=mail.state,
        attempts=mail.attempts,
        error=mail.error,
        created_at=mail.created_at,
        finished_at=mail.finished_at,
    )
