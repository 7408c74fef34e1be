"""Pricing: what charges make of a quantity, step by step.

`rate` gives exact amounts in major units and knows no currency; rounding is money.py's, what was
billed before is true_up.py's, what a charge is charges.py's. The rules are the product contract's,
section 4.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from abaxus_core.domain.charges import Charge, FlatFee, Package, PerUnit, Tier, Tiered, Volume
from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.money import share

ONE = Decimal(1)


class TierShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one tier (numbered from 1) contributes; `amount` includes its flat amount."""

    tier: int
    up_to: Decimal | None
    quantity: Decimal
    unit_price: Decimal
    flat_amount: Decimal
    amount: Decimal


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A multiplication that an amount comes from: `quantity × unit_price × days / of_days`.

    `days` of `of_days` are those of a share of a fee, of which less than nothing is given back.
    Packages are counted as `ceil((usage − free_units) / package_size)`.
    """

    quantity: Decimal
    unit_price: Decimal
    days: int | None = None
    of_days: int | None = None
    package_size: Decimal | None = None
    free_units: Decimal | None = None


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """An exact amount in major units, and how it comes about: a `step`, or tiers that add up.

    `negative`: the quantity was, and was priced as zero.
    """

    exact_amount: Decimal
    step: Step | None = None
    breakdown: tuple[TierShare, ...] | None = None
    negative: bool = False


def rate(charge: Charge, quantity: Decimal) -> Rated:
    """Return what a charge makes of a quantity; a flat fee is the same for any.

    >>> calls = Tiered(id="chg_1", metric_key="calls", tiers=(
    ...     Tier(up_to=Decimal(100_000), unit_price=Decimal(0)),
    ...     Tier(up_to=Decimal(1_000_000), unit_price=Decimal("0.0001")),
    ...     Tier(up_to=None, unit_price=Decimal("0.00005")),
    ... ))
    >>> rate(calls, Decimal(1_374_923)).exact_amount
    Decimal('108.74615')
    """
    negative = quantity < 0
    billable = ZERO if negative else quantity
    match charge:
        case FlatFee():
            return stepped(Step(quantity=ONE, unit_price=charge.amount))
        case PerUnit():
            return stepped(Step(quantity=billable, unit_price=charge.unit_price), negative)
        case Package():
            return stepped(_packed(charge, billable), negative)
        case Tiered():
            return _in_tiers(_graduated(charge.tiers, billable), negative)
        case Volume():
            return _in_tiers((_whole_in_tier(charge.tiers, billable),), negative)


def amount_of(step: Step) -> Decimal:
    """Return what a step comes to in major units, before rounding.

    >>> amount_of(Step(quantity=Decimal(-1), unit_price=Decimal("30"), days=10, of_days=30))
    Decimal('-10')
    """
    with exact():
        whole = step.quantity * step.unit_price
    if step.days is None or step.of_days is None:
        return whole
    return share(whole, step.days, step.of_days)


def packages_of(quantity: Decimal, package_size: Decimal, free_units: Decimal) -> Decimal:
    """Return how many packages a quantity fills or starts once the free units are off it.

    >>> packages_of(Decimal("1000.5"), Decimal(1000), ZERO)
    Decimal('2')
    """
    with exact():
        packed = max(quantity - free_units, ZERO)
        whole, rest = divmod(packed, package_size)
        return whole + (1 if rest else 0)


def stepped(step: Step, negative: bool = False) -> Rated:
    """Return the rating of what a single step makes."""
    return Rated(exact_amount=amount_of(step), step=step, negative=negative)


def _packed(charge: Package, quantity: Decimal) -> Step:
    return Step(
        quantity=packages_of(quantity, charge.package_size, charge.free_units or ZERO),
        unit_price=charge.package_price,
        package_size=charge.package_size,
        free_units=charge.free_units,
    )


def _in_tiers(shares: tuple[TierShare, ...], negative: bool) -> Rated:
    with exact():
        amount = sum((one.amount for one in shares), ZERO)
    return Rated(exact_amount=amount, breakdown=shares, negative=negative)


def _graduated(tiers: Sequence[Tier], quantity: Decimal) -> tuple[TierShare, ...]:
    shares = []
    lower = ZERO
    with exact():
        for number, tier in enumerate(tiers, start=1):
            # The first tier is always reached; a later one only beyond the edge before it.
            if number > 1 and quantity <= lower:
                break
            upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
            shares.append(_share(number, tier, upper - lower))
            lower = upper
        assert sum((one.quantity for one in shares), ZERO) == quantity, "tiers conserve quantity"
    return tuple(shares)


def _whole_in_tier(tiers: Sequence[Tier], quantity: Decimal) -> TierShare:
    number = tier_reached(tiers, quantity)
    return _share(number, tiers[number - 1], quantity)


def tier_reached(tiers: Sequence[Tier], quantity: Decimal) -> int:
    """Return the number, from 1, of the tier that holds a quantity; an edge is the lower tier's.

    >>> two = [Tier(up_to=Decimal(5), unit_price=ZERO), Tier(up_to=None, unit_price=ZERO)]
    >>> tier_reached(two, Decimal(5)), tier_reached(two, Decimal("5.001"))
    (1, 2)
    """
    for number, tier in enumerate(tiers, start=1):
        if tier.up_to is None or quantity <= tier.up_to:
            return number
    raise AssertionError("the last tier is open-ended")


def _share(number: int, tier: Tier, quantity: Decimal) -> TierShare:
    flat_amount = tier.flat_amount or ZERO
    with exact():
        amount = quantity * tier.unit_price + flat_amount
    return TierShare(
        tier=number,
        up_to=tier.up_to,
        quantity=quantity,
        unit_price=tier.unit_price,
        flat_amount=flat_amount,
        amount=amount,
    )
