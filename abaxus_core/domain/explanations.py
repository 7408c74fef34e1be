"""Explanations: how a line's amount comes about, from what the line itself says.

Steps add up to what is owed; that, rounded once to minor units, less what was billed before, is the
amount. Nothing is looked up, so an issued line can be added up again for ever.
"""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.invoices import Line
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.pricing import ONE, Step, TierShare, amount_of, packages_of


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """One summand in major units: `step`, and the flat amount of the tier that was reached."""

    step: Step
    flat_amount: Decimal = ZERO
    tier: int | None = None

    @property
    def amount(self) -> Decimal:
        with exact():
            return amount_of(self.step) + self.flat_amount


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Terms that add up to `owed` in major units, before rounding; none where nothing is owed."""

    terms: tuple[Term, ...]
    owed: Decimal


def explain(line: Line) -> Explanation:
    """Return how what a line says is owed comes about; of credit, the amount itself."""
    terms = tuple(_terms(line))
    with exact():
        return Explanation(terms=terms, owed=sum((term.amount for term in terms), ZERO))


def _terms(line: Line) -> Iterator[Term]:
    if line.charge_id is None:
        yield Term(step=Step(quantity=ONE, unit_price=line.exact_amount))
    elif line.step is not None:
        yield Term(step=line.step)
    for share in line.tier_breakdown or ():
        yield _of_tier(share)


def _of_tier(share: TierShare) -> Term:
    return Term(
        step=Step(quantity=share.quantity, unit_price=share.unit_price),
        flat_amount=share.flat_amount,
        tier=share.tier,
    )


def faults(line: Line, currency: str) -> list[str]:
    """Return where a line's arithmetic does not add up, in words; nothing where it does."""
    explained = explain(line)
    owed_minor = line.amount_minor if line.owed_minor is None else line.owed_minor
    found = []
    if to_minor(explained.owed, currency) != owed_minor:
        found.append(f"its terms add up to {explained.owed}, it says {owed_minor} minor units")
    if line.amount_minor != owed_minor - (line.previously_billed_minor or 0):
        found.append(f"{line.amount_minor} is not {owed_minor} less what was billed before")
    return found + _quantity_faults(line, explained)


def _quantity_faults(line: Line, explained: Explanation) -> list[str]:
    """The quantity of a line that was counted is the one that its terms price."""
    if line.watermark is None or line.quantity is None:
        return []
    wanted = max(line.quantity, ZERO)
    if line.step is not None and line.step.package_size is not None:
        wanted = packages_of(wanted, line.step.package_size, line.step.free_units or ZERO)
    with exact():
        priced = sum((term.step.quantity for term in explained.terms), ZERO)
    return [] if priced == wanted else [f"{priced} is priced of a quantity of {line.quantity}"]
