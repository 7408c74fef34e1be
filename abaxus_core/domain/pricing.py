"""Charges and what they make of a quantity: per_unit, tiered, volume, package, flat_fee.

`rate` gives exact amounts in major units and knows no currency; rounding is money.py's and what was
billed before is true_up.py's. The rules are the product contract's, section 4.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec

from abaxus_core.domain.decimals import ZERO, check_decimal, check_not_negative, exact
from abaxus_core.domain.money import share
from abaxus_core.errors import InvalidInput

PricingModel = Literal["per_unit", "tiered", "volume", "package", "flat_fee"]

ONE = Decimal(1)
TIERS_MAX = 100


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """`up_to` is inclusive; None is open-ended. `flat_amount` is owed once the tier is reached."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_amount: Decimal | None = None


class _Charge(msgspec.Struct, frozen=True, kw_only=True, tag_field="pricing_model"):
    id: str
    description: str | None = None


class PerUnit(_Charge, frozen=True, kw_only=True, tag="per_unit"):
    metric_key: str
    unit_price: Decimal


class Tiered(_Charge, frozen=True, kw_only=True, tag="tiered"):
    """Each tier's share of the quantity at the tier's own price (graduated)."""

    metric_key: str
    tiers: tuple[Tier, ...]


class Volume(_Charge, frozen=True, kw_only=True, tag="volume"):
    """The whole quantity at the price of the tier that it reaches."""

    metric_key: str
    tiers: tuple[Tier, ...]


class Package(_Charge, frozen=True, kw_only=True, tag="package"):
    """A started package is a whole one; `free_units` come off the quantity first."""

    metric_key: str
    package_size: Decimal
    package_price: Decimal
    free_units: Decimal | None = None


class FlatFee(_Charge, frozen=True, kw_only=True, tag="flat_fee"):
    """A fee per billing period, whatever the usage."""

    amount: Decimal
    metric_key: None = None
    billing: Literal["in_arrears", "in_advance"] = "in_arrears"


UsageCharge: TypeAlias = PerUnit | Tiered | Volume | Package
Charge: TypeAlias = UsageCharge | FlatFee


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


def model_of(charge: Charge) -> PricingModel:
    """Return the charge's pricing model by its name in the API."""
    match charge:
        case PerUnit():
            return "per_unit"
        case Tiered():
            return "tiered"
        case Volume():
            return "volume"
        case Package():
            return "package"
        case FlatFee():
            return "flat_fee"


def describe(charge: Charge) -> str:
    """Return the charge's description, or what a line says when it has none."""
    return charge.description or charge.metric_key or "Flat fee"


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


def check_charge(charge: Charge) -> None:
    """Raise InvalidInput, with a field path relative to the charge, unless it can be priced.

    Prices are not negative and fit numeric(38, 10); tiers ascend and the last one is open-ended.
    """
    match charge:
        case PerUnit():
            check_not_negative(charge.unit_price, "unit_price")
        case Tiered() | Volume():
            _check_tiers(charge.tiers)
        case Package():
            check_not_negative(charge.package_price, "package_price")
            _check_positive(charge.package_size, "package_size")
            check_not_negative(charge.free_units or ZERO, "free_units")
        case FlatFee():
            check_not_negative(charge.amount, "amount")


def _check_tiers(tiers: Sequence[Tier]) -> None:
    if not tiers:
        raise InvalidInput("must have at least one tier", field="tiers")
    if len(tiers) > TIERS_MAX:
        raise InvalidInput(f"must have at most {TIERS_MAX} tiers", field="tiers")
    for place, tier in enumerate(tiers):
        _check_tier(tier, f"tiers[{place}]")
    _check_edges(tiers)


def _check_tier(tier: Tier, path: str) -> None:
    if tier.up_to is not None:
        _check_positive(tier.up_to, f"{path}.up_to")
    check_not_negative(tier.unit_price, f"{path}.unit_price")
    check_not_negative(tier.flat_amount or ZERO, f"{path}.flat_amount")


def _check_edges(tiers: Sequence[Tier]) -> None:
    last = len(tiers) - 1
    for place, tier in enumerate(tiers):
        if (tier.up_to is None) != (place == last):
            raise InvalidInput(
                "the last tier, and no other, has null", field=f"tiers[{place}].up_to"
            )
    edges = [tier.up_to for tier in tiers if tier.up_to is not None]
    for place, (lower, upper) in enumerate(pairwise(edges), start=1):
        if upper <= lower:
            raise InvalidInput(
                "must be greater than the tier's before it", field=f"tiers[{place}].up_to"
            )


def _check_positive(number: Decimal, path: str) -> None:
    if check_decimal(number, path) <= 0:
        raise InvalidInput("must be greater than zero", field=path)
