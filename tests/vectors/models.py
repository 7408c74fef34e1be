"""Price models of the vectors as our charges."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from abaxus_core.domain.charges import Charge, Package, Tier, Tiered, Volume, check_charge
from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.pricing import rate, tier_reached
from tests.vectors.case import NotApplicable

METRIC = "usage"
PERCENT = Decimal("0.01")

Model = Mapping[str, Any]


def charge_of(model: Model) -> Charge:
    """Return the one charge that a model is; NotApplicable when none of ours is like it.

    Raises msgspec.ValidationError or InvalidInput for a model that we refuse.
    """
    charge: Charge = msgspec.convert(_as_charge(model), Charge, strict=False)
    check_charge(charge)
    return charge


def _as_charge(model: Model) -> dict[str, Any]:
    common = {"id": "chg_vector", "metric_key": METRIC}
    match model["type"]:
        case "flat":
            return {
                "pricing_model": "flat_fee",
                "id": "chg_vector",
                "amount": model["amount"],
                "billing": model.get("term", "in_arrears"),
            }
        case "per_unit":
            return common | {"pricing_model": "per_unit", "unit_price": model["unit_amount"]}
        case "graduated":
            return common | {"pricing_model": "tiered", "tiers": _tiers(model["tiers"])}
        case "volume":
            return common | {"pricing_model": "volume", "tiers": _tiers(model["tiers"])}
        case "package":
            return common | _package(model)
        case "percentage":
            return common | _percentage(model)
        case "graduated_percentage":
            return common | {"pricing_model": "tiered", "tiers": _tiers(model["tiers"])}
    raise NotApplicable("pricing-model")


def _tiers(tiers: Sequence[Model]) -> list[dict[str, Any]]:
    if any(tier.get("cap") is not None for tier in tiers):
        raise NotApplicable("pricing-model")
    return [
        {
            "up_to": tier["up_to"],
            "unit_price": _rate(tier["rate_percent"])
            if "rate_percent" in tier
            else tier["unit_amount"],
            "flat_amount": tier.get("flat_amount"),
        }
        for tier in tiers
    ]


def _package(model: Model) -> dict[str, Any]:
    if model.get("rounding", "up") != "up":
        raise NotApplicable("pricing-model")
    return {
        "pricing_model": "package",
        "package_size": model["package_size"],
        "package_price": model["package_amount"],
        "free_units": model.get("free_units"),
    }


def _percentage(model: Model) -> dict[str, Any]:
    per_event = ("fixed_amount", "free_events", "min_per_event", "max_per_event")
    price = _rate(model["rate_percent"])
    if any(Decimal(model.get(name) or 0) != 0 for name in per_event):
        raise NotApplicable("pricing-model")
    if Decimal(model.get("free_units") or 0) != 0:
        free = {"up_to": model["free_units"], "unit_price": ZERO}
        return {"pricing_model": "tiered", "tiers": [free, {"up_to": None, "unit_price": price}]}
    return {"pricing_model": "per_unit", "unit_price": price}


def _rate(percent: str) -> Decimal:
    return Decimal(percent) * PERCENT


def amount_of(model: Model, quantity: Decimal, events: Model | None = None) -> Decimal:
    """Return the exact amount of a model for a quantity, by one charge or by several of ours."""
    if model["type"] == "graduated_blocks":
        return _graduated_blocks(model, quantity)
    if model["type"] == "volume_blocks":
        return _volume_blocks(model, quantity)
    if model["type"] == "percentage" and _is_sum_and_count(model):
        return _percentage_and_fee(model, quantity, events or {})
    return rate(charge_of(model), quantity).exact_amount


def _is_sum_and_count(model: Model) -> bool:
    """A rate on the sum and a fee per event, nothing free: two charges, on two metrics."""
    limits = ("free_events", "free_units", "min_per_event", "max_per_event")
    return Decimal(model.get("fixed_amount") or 0) != 0 and not any(
        Decimal(model.get(name) or 0) for name in limits
    )


def _percentage_and_fee(model: Model, quantity: Decimal, events: Model) -> Decimal:
    on_sum = charge_of({"type": "per_unit", "unit_amount": _rate(model["rate_percent"])})
    on_count = charge_of({"type": "per_unit", "unit_amount": model["fixed_amount"]})
    counted = Decimal(events.get("count", len(events.get("values", []))))
    with exact():
        return rate(on_sum, quantity).exact_amount + rate(on_count, counted).exact_amount


def _graduated_blocks(model: Model, quantity: Decimal) -> Decimal:
    """Our tiers split the quantity, our packages price each share."""
    split = Tiered(id="chg_vector", metric_key=METRIC, tiers=_block_edges(model))
    check_charge(split)
    shares = rate(split, quantity).breakdown or ()
    with exact():
        return sum(
            (
                rate(_block(model["tiers"][share.tier - 1]), share.quantity).exact_amount
                for share in shares
            ),
            ZERO,
        )


def _volume_blocks(model: Model, quantity: Decimal) -> Decimal:
    """Our volume tiers choose the tier, our packages price the whole quantity in it."""
    chosen = Volume(id="chg_vector", metric_key=METRIC, tiers=_block_edges(model))
    check_charge(chosen)
    reached = model["tiers"][tier_reached(chosen.tiers, quantity) - 1]
    return rate(_block(reached), quantity).exact_amount


def _block_edges(model: Model) -> tuple[Tier, ...]:
    edges: list[Decimal | None] = []
    edge = ZERO
    for tier in model["tiers"][:-1]:
        edge += Decimal(tier["block_size"]) * Decimal(tier["max_blocks"])
        edges.append(edge)
    # Beyond the last tier its own price goes on, as `beyond_last: last_tier` says.
    return tuple(Tier(up_to=up_to, unit_price=ZERO) for up_to in [*edges, None])


def _block(tier: Model) -> Package:
    package = Package(
        id="chg_vector",
        metric_key=METRIC,
        package_size=Decimal(tier["block_size"]),
        package_price=Decimal(tier["block_amount"]),
    )
    check_charge(package)
    return package
