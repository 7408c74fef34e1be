"""The mail that carries an invoice: what it says, as text and as HTML, from the invoice alone.

Pure: the same arguments give the same message. No asset in it is fetched from anywhere. Storing
and delivering it is mailing.py's.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import jinja2
import msgspec

from abaxus_core.domain.decimals import plain
from abaxus_core.domain.invoices import Invoice, Line, number_text
from abaxus_core.domain.money import exponent, from_minor
from abaxus_core.domain.pricing import TierShare
from abaxus_core.plugin.email import EmailMessage

# RFC 3834, section 5: keeps vacation answers away; the second is Exchange's word for it.
HEADERS: Final = (
    ("Auto-Submitted", "auto-generated"),
    ("X-Auto-Response-Suppress", "All"),
)

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=jinja2.select_autoescape(enabled_extensions=("html.jinja",), default=False),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes to whom, when, under which id."""

    email_id: str
    date: datetime
    sender: str
    seller_name: str | None
    recipient: str
    customer_name: str | None

    @property
    def message_id(self) -> str:
        return f"<{self.email_id}@{self.sender.rpartition('@')[2]}>"


class MailTier(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    amount: str


class MailLine(msgspec.Struct, frozen=True, kw_only=True):
    description: str
    detail: str
    amount: str
    tiers: tuple[MailTier, ...]


class InvoiceMail(msgspec.Struct, frozen=True, kw_only=True):
    """What the templates show: words and numbers, formatted already."""

    number: str
    seller: str | None
    customer: str | None
    issued: str
    period: str
    lines: tuple[MailLine, ...]
    total: str
    standing: str


def compose(invoice: Invoice, envelope: Envelope) -> EmailMessage:
    """The message that carries the invoice, with its lines, to the customer."""
    shown = present(invoice, envelope)
    seller = f" from {envelope.seller_name}" if envelope.seller_name else ""
    return EmailMessage(
        message_id=envelope.message_id,
        date=envelope.date,
        sender=envelope.sender,
        sender_name=envelope.seller_name,
        recipient=envelope.recipient,
        subject=f"Invoice {shown.number}{seller}",
        text=_render("invoice.txt.jinja", shown),
        html=_render("invoice.html.jinja", shown),
        headers=HEADERS,
    )


def present(invoice: Invoice, envelope: Envelope) -> InvoiceMail:
    """The invoice in words."""
    return InvoiceMail(
        number=number_text(invoice.number),
        seller=envelope.seller_name,
        customer=envelope.customer_name,
        issued=_day(invoice.created_at),
        period=_period(invoice.period_start, invoice.period_end),
        lines=tuple(_line(line, invoice.currency) for line in invoice.lines),
        total=_money(from_minor(invoice.total_minor, invoice.currency), invoice.currency),
        standing=_standing(invoice),
    )


def _render(template: str, shown: InvoiceMail) -> str:
    variables: Mapping[str, object] = {"mail": shown}
    return _templates.get_template(template).render(variables)


def _standing(invoice: Invoice) -> str:
    if invoice.status == "paid" and invoice.paid_at is not None:
        return f"Paid on {_day(invoice.paid_at)}. Nothing is due."
    if invoice.total_minor == 0:
        return "Nothing is due."
    due = _money(from_minor(invoice.total_minor, invoice.currency), invoice.currency)
    return f"Amount due: {due}"


def _line(line: Line, currency: str) -> MailLine:
    return MailLine(
        description=line.description,
        detail=", ".join(_details(line, currency)),
        amount=_money(from_minor(line.amount_minor, currency), currency),
        tiers=tuple(_tier(tier, currency) for tier in line.tier_breakdown or ()),
    )


def _details(line: Line, currency: str) -> list[str]:
    details = []
    if line.quantity is not None and line.metric_key is not None:
        details.append(f"{_number(line.quantity)} {line.metric_key}")
    if line.period_start is not None and line.period_end is not None:
        details.append(_period(line.period_start, line.period_end))
    if line.kind == "adjustment":
        details.append("adjustment of an earlier invoice")
    if line.owed_minor is not None and line.previously_billed_minor:
        owed = _money(from_minor(line.owed_minor, currency), currency)
        billed = _money(from_minor(line.previously_billed_minor, currency), currency)
        details.append(f"{owed} in all, {billed} of it billed before")
    return details


def _tier(tier: TierShare, currency: str) -> MailTier:
    code = currency.upper()
    text = f"Tier {tier.tier}: {_number(tier.quantity)} × {_number(tier.unit_price)} {code}"
    if tier.flat_amount:
        text += f" + {_number(tier.flat_amount)} {code}"
    return MailTier(text=text, amount=f"{_number(tier.amount, exponent(currency))} {code}")


def _money(amount: Decimal, currency: str) -> str:
    """Return major units as people read them: `1,374.50 USD`."""
    return f"{amount:,f} {currency.upper()}"


def _number(number: Decimal, decimals_min: int = 0) -> str:
    """Return a number with grouped thousands, no trailing zeros but `decimals_min` decimals."""
    whole, _, fraction = plain(number).partition(".")
    fraction = fraction.ljust(decimals_min, "0")
    grouped = f"{Decimal(whole):,f}"
    sign = "-" if whole == "-0" else ""
    return f"{sign}{grouped.lstrip('-') if sign else grouped}{'.' if fraction else ''}{fraction}"


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"


def _period(start: datetime, end: datetime) -> str:
    """Return the days of a half-open interval, first to last."""
    last = end - timedelta(microseconds=1)
    return f"{_day(start)} to {_day(last)}"
