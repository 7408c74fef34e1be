"""Charges: what a plan asks for a metric, or by the period, and whether it can be priced.

What charges make of a quantity is pricing.py's. The rules are the product contract's, section 4.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec

from abaxus_core.domain.decimals import ZERO, check_decimal, check_not_negative
from abaxus_core.errors import InvalidInput

PricingModel = Literal["per_unit", "tiered", "volume", "package", "flat_fee"]

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
