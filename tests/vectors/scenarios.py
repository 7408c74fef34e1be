"""Scenario cases: whole invoices of fees and usage, with credit taken last."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from abaxus_core.domain.decimals import ZERO, shift
from abaxus_core.domain.invoices import Line, draft
from abaxus_core.domain.money import allocate, from_minor, share, to_minor
from tests.vectors.case import Case, NotApplicable
from tests.vectors.models import amount_of
from tests.vectors.pricing import PERIOD, currency_of

Answer = dict[str, Any]


def _invoice(case: Case) -> Answer:
    _refuse_later(case)
    currency = currency_of(case.input["decimals"])
    lines = [_line(stated, currency) for stated in case.input["lines"]]
    credit_minor = sum(to_minor(Decimal(one), currency) for one in _credits(case))
    issued = draft(lines, currency=currency, credit_minor=credit_minor)
    return {
        "subtotal": from_minor(sum(line.amount_minor for line in lines), currency),
        "line_amounts": [from_minor(line.amount_minor, currency) for line in lines],
        "discount": ZERO,
        "line_discounts": [ZERO for _ in lines],
        "tax": ZERO,
        "line_taxes": [ZERO for _ in lines],
        "credits": from_minor(-issued.credit_change_minor, currency),
        "total": from_minor(issued.total_minor, currency),
    }


def _refuse_later(case: Case) -> None:
    lines = case.input["lines"]
    if any(Decimal(line.get("tax_percent") or 0) for line in lines):
        raise NotApplicable("tax")
    if case.input.get("coupons"):
        raise NotApplicable("coupon")
    if any(line.get("minimum") for line in lines):
        raise NotApplicable("minimum-commitment")


def _credits(case: Case) -> list[str]:
    stated = case.input.get("credits", [])
    if isinstance(stated, str):
        return [stated]
    return [
        one.get("amount", one.get("value")) if isinstance(one, Mapping) else one for one in stated
    ]


def _line(stated: Mapping[str, Any], currency: str) -> Line:
    exact_amount = _exact_amount(stated)
    return Line(
        kind="usage" if stated["kind"] == "usage" else "flat_fee",
        description="",
        exact_amount=exact_amount,
        amount_minor=to_minor(exact_amount, currency),
        period_start=PERIOD.start,
        period_end=PERIOD.end,
    )


def _exact_amount(stated: Mapping[str, Any]) -> Decimal:
    if stated["kind"] == "usage":
        return amount_of(stated["model"], Decimal(stated["quantity"]), stated.get("events"))
    if "period_amount" in stated:
        covered, whole = (int(days) for days in stated["covered"])
        return share(Decimal(stated["period_amount"]), covered, whole)
    return Decimal(stated["amount"])


def _spread_discount(case: Case) -> Answer:
    """Coupons come later; the allocation that they will need is here."""
    decimals = case.input["decimals"]
    amounts = [Decimal(amount) for amount in case.input["amounts"]]
    total = int(shift(min(Decimal(case.input["discount"]), sum(amounts, ZERO)), decimals))
    parts = allocate(total, amounts)
    return {
        "after": [
            amount - shift(Decimal(part), -decimals)
            for amount, part in zip(amounts, parts, strict=True)
        ]
    }


KINDS: Mapping[str, Callable[[Case], Answer]] = {
    "invoice": _invoice,
    "spread_discount": _spread_discount,
}
