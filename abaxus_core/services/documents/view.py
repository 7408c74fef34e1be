"""What the document of an invoice shows: words and figures, formatted already.

The one place where an invoice becomes text; HTML, PDF and mail lay out the same view. It shows
what was issued: whether it is paid is not part of it, so that it never changes.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.invoices import Invoice, Line, number_text
from abaxus_core.domain.money import exponent
from abaxus_core.domain.parties import Buyer, Parties, Seller
from abaxus_core.domain.periods import Period
from abaxus_core.domain.pricing import Step, TierShare
from abaxus_core.services.documents.figures import Figures
from abaxus_core.services.documents.words import Words


class TierView(msgspec.Struct, frozen=True, kw_only=True):
    description: str
    quantity: str
    unit_price: str
    amount: str


class LineView(msgspec.Struct, frozen=True, kw_only=True):
    """`quantity` and `unit_price` are empty where a line has none."""

    description: str
    details: tuple[str, ...]
    quantity: str
    unit_price: str
    amount: str
    tiers: tuple[TierView, ...]


class CreditView(msgspec.Struct, frozen=True, kw_only=True):
    description: str
    amount: str


class InvoiceView(msgspec.Struct, frozen=True, kw_only=True):
    """The variable `invoice` of every template.

    `subtotal` is empty where no credit stands between it and the total. `lines_left_out` is how
    many lines did not fit, `tiers_left_out` whether tiers did not. Amounts of lines come without
    the currency, `total` with it.
    """

    words: Words
    language: str
    test: bool
    number: str
    title: str
    issued: str
    issued_at: datetime
    period: str
    cutoff: str
    currency: str
    seller: Seller
    buyer: Buyer
    lines: tuple[LineView, ...]
    lines_left_out: int
    tiers_left_out: bool
    subtotal: str
    credits: tuple[CreditView, ...]
    total: str


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How documents are written: in which words and figures, at most how long.

    `rows_max`: lines and their tiers; beyond it tiers are left out first, then lines.
    """

    words: Words
    figures: Figures
    rows_max: int
    test: bool = False


def present(invoice: Invoice, parties: Parties, manner: Manner) -> InvoiceView:
    """Return the invoice in words."""
    words, figures, currency = manner.words, manner.figures, invoice.currency
    lines = [line for line in invoice.lines if line.kind != "credit_applied"]
    taken = [line for line in invoice.lines if line.kind == "credit_applied"]
    tiers_fit = _rows(lines) <= manner.rows_max
    period = Period(start=invoice.period_start, end=invoice.period_end)
    rows = [_Row(line, currency, period, manner) for line in lines[: manner.rows_max]]
    subtotal = figures.amount(sum(line.amount_minor for line in lines), currency)
    return InvoiceView(
        words=words,
        language=figures.language,
        test=manner.test,
        number=number_text(invoice.number),
        title=f"{words.invoice} {number_text(invoice.number)}",
        issued=figures.day(invoice.created_at),
        issued_at=invoice.created_at,
        period=figures.span(period.start, period.end),
        cutoff=figures.end(invoice.cutoff),
        currency=currency.upper(),
        seller=parties.seller,
        buyer=parties.buyer,
        lines=tuple(row.view(with_tiers=tiers_fit) for row in rows),
        lines_left_out=len(lines) - len(rows),
        tiers_left_out=not tiers_fit,
        subtotal=subtotal if taken else "",
        credits=tuple(_credit(line, currency, manner) for line in taken),
        total=figures.money(invoice.total_minor, currency),
    )


def _rows(lines: Sequence[Line]) -> int:
    return sum(1 + len(line.tier_breakdown or ()) for line in lines)


def _credit(line: Line, currency: str, manner: Manner) -> CreditView:
    words = manner.words
    carried = line.amount_minor > 0
    return CreditView(
        description=words.credit_carried if carried else words.credit_applied,
        amount=manner.figures.amount(line.amount_minor, currency),
    )


class _Row(msgspec.Struct, frozen=True):
    """A line on its way into words; a stretch is named where it is not the invoice's period."""

    line: Line
    currency: str
    period: Period
    manner: Manner

    def view(self, *, with_tiers: bool) -> LineView:
        line, figures = self.line, self.manner.figures
        quantity = None if line.metric_key is None else line.quantity
        price = line.step.unit_price if line.step and line.pricing_model == "per_unit" else None
        return LineView(
            description=line.description,
            details=tuple(self._details()),
            quantity="" if quantity is None else figures.number(quantity),
            unit_price="" if price is None else figures.number(price, exponent(self.currency)),
            amount=figures.amount(line.amount_minor, self.currency),
            tiers=self._tiers(line.tier_breakdown or ()) if with_tiers else (),
        )

    def _details(self) -> list[str]:
        line, words, figures = self.line, self.manner.words, self.manner.figures
        details = []
        stretch = _stretch(line)
        if stretch is not None and stretch != self.period:
            details.append(figures.span(stretch.start, stretch.end))
        if line.step is not None and line.step.package_size is not None:
            details.append(self._packages(line.step, line.step.package_size))
        if line.kind == "adjustment":
            details.append(words.adjustment)
        if line.owed_minor is not None and line.previously_billed_minor:
            owed = figures.money(line.owed_minor, self.currency)
            billed = figures.money(line.previously_billed_minor, self.currency)
            details.append(words.billed_before.format(owed=owed, billed=billed))
        return details

    def _packages(self, step: Step, size: Decimal) -> str:
        figures = self.manner.figures
        return self.manner.words.packages.format(
            count=figures.number(step.quantity),
            size=figures.number(size),
            price=figures.number(step.unit_price, exponent(self.currency)),
        )

    def _tiers(self, tiers: Sequence[TierShare]) -> tuple[TierView, ...]:
        """In columns: one count of decimals for the prices, one for the amounts."""
        figures, decimals = self.manner.figures, exponent(self.currency)
        prices = figures.column([tier.unit_price for tier in tiers], decimals)
        amounts = figures.column([tier.amount for tier in tiers], decimals)
        return tuple(
            TierView(
                description=self._tier_description(tier),
                quantity=figures.number(tier.quantity),
                unit_price=price,
                amount=amount,
            )
            for tier, price, amount in zip(tiers, prices, amounts, strict=True)
        )

    def _tier_description(self, tier: TierShare) -> str:
        words, figures = self.manner.words, self.manner.figures
        if tier.up_to is None:
            text = words.tier.format(tier=tier.tier)
        else:
            text = words.tier_up_to.format(tier=tier.tier, up_to=figures.number(tier.up_to))
        if tier.flat_amount:
            flat = figures.number(tier.flat_amount, exponent(self.currency))
            text = words.tier_flat_amount.format(tier=text, flat_amount=flat)
        return text


def _stretch(line: Line) -> Period | None:
    """What the line is for: its segment, of usage as far as it was counted."""
    start, end = line.segment_start or line.period_start, line.segment_end or line.period_end
    if line.watermark is not None and line.window_end is not None and end is not None:
        end = min(end, line.window_end)
    return None if start is None or end is None or end <= start else Period(start=start, end=end)
