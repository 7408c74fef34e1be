"""Older spellings of fields, turned into today's before a body is read (product contract, 4).

Both spellings may stand together where they say the same; otherwise the body is refused.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from abaxus_core.errors import InvalidInput

_Change: TypeAlias = Callable[[dict[str, Any], str], dict[str, Any]]


def metric(tree: dict[str, Any]) -> dict[str, Any]:
    """A metric's body with `display_name` and `aggregation_type` as they are called today."""
    return _renamed(tree, "", display_name="name", aggregation_type="aggregation")


def price_plan(tree: dict[str, Any]) -> dict[str, Any]:
    """A plan's body with its name, its charges' models, tiers and prices as called today."""
    tree = _renamed(tree, "", display_name="name")
    return _mapped(tree, "charges", "charges", _charge)


def _charge(charge: dict[str, Any], path: str) -> dict[str, Any]:
    charge = _renamed(_lifted(charge, path), path, model="pricing_model", unit_amount="unit_price")
    return _mapped(charge, "tiers", f"{path}.tiers", _tier)


def _tier(tier: dict[str, Any], path: str) -> dict[str, Any]:
    return _renamed(tier, path, unit_amount="unit_price")


def _lifted(charge: dict[str, Any], path: str) -> dict[str, Any]:
    """The charge with `properties.tiers` as its `tiers`; other properties stay, and are refused."""
    properties = charge.get("properties")
    if not isinstance(properties, dict) or "tiers" not in properties:
        return charge
    rest = {name: value for name, value in properties.items() if name != "tiers"}
    kept = {name: value for name, value in charge.items() if name != "properties"}
    kept |= {"properties": rest} if rest else {}
    return _agreed(kept, "tiers", properties["tiers"], f"{path}.tiers")


def _mapped(tree: dict[str, Any], name: str, path: str, change: _Change) -> dict[str, Any]:
    items = tree.get(name)
    if not isinstance(items, list):
        return tree
    return tree | {
        name: [
            change(item, f"{path}[{place}]") if isinstance(item, dict) else item
            for place, item in enumerate(items)
        ]
    }


def _renamed(tree: dict[str, Any], path: str, **names: str) -> dict[str, Any]:
    for old, new in names.items():
        if old in tree:
            rest = {name: value for name, value in tree.items() if name != old}
            tree = _agreed(rest, new, tree[old], f"{path}.{new}".removeprefix("."))
    return tree


def _agreed(tree: dict[str, Any], name: str, value: Any, field: str) -> dict[str, Any]:
    if name in tree and tree[name] != value:
        raise InvalidInput("is given in two spellings that differ", field=field)
    return tree | {name: value}
