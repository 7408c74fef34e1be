"""What a price plan's document looks like when it is sent: charges, tiers, entitlements.

Their answers are the domain's own Structs. What can be priced is the domain's to check.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from abaxus_core.domain.charges import Charge
from abaxus_core.domain.entitlements import Entitlement
from abaxus_core.http.texts import Description, Key, Value

_WITHOUT_ID = ""


class NewTier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`up_to` is inclusive; the last tier's, and no other, is null."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_amount: Decimal | None = None


class _NewCharge(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="pricing_model"
):
    description: Description | None = None


class NewPerUnit(_NewCharge, frozen=True, kw_only=True, tag="per_unit"):
    metric_key: Key
    unit_price: Decimal


class NewTiered(_NewCharge, frozen=True, kw_only=True, tag="tiered"):
    """Graduated: each tier's share of the quantity at the tier's own price."""

    metric_key: Key
    tiers: list[NewTier]


class NewVolume(_NewCharge, frozen=True, kw_only=True, tag="volume"):
    """The whole quantity at the price of the tier that it reaches."""

    metric_key: Key
    tiers: list[NewTier]


class NewPackage(_NewCharge, frozen=True, kw_only=True, tag="package"):
    """A started package is a whole one; `free_units` come off the quantity first."""

    metric_key: Key
    package_size: Decimal
    package_price: Decimal
    free_units: Decimal | None = None


class NewFlatFee(_NewCharge, frozen=True, kw_only=True, tag="flat_fee"):
    """A fee per billing period, owed at its end or at its start."""

    amount: Decimal
    metric_key: None = None
    billing: Literal["in_arrears", "in_advance"] = "in_arrears"


class _NewEntitlement(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    feature_key: Key


class NewBoolean(_NewEntitlement, frozen=True, kw_only=True, tag="boolean"):
    value: bool


class NewLimit(_NewEntitlement, frozen=True, kw_only=True, tag="limit"):
    """How much of a metric a billing period may use; null is unlimited."""

    limit: Decimal | None
    metric_key: Key


class NewCustom(_NewEntitlement, frozen=True, kw_only=True, tag="custom"):
    value: Value


NewCharge: TypeAlias = NewPerUnit | NewTiered | NewVolume | NewPackage | NewFlatFee
NewEntitlement: TypeAlias = NewBoolean | NewLimit | NewCustom


def charges_of(sent: Sequence[NewCharge]) -> tuple[Charge, ...]:
    """The charges as the domain has them, still without ids."""
    trees = msgspec.to_builtins(sent, builtin_types=(Decimal,))
    return msgspec.convert([tree | {"id": _WITHOUT_ID} for tree in trees], tuple[Charge, ...])


def entitlements_of(sent: Sequence[NewEntitlement]) -> tuple[Entitlement, ...]:
    """The entitlements as the domain has them."""
    trees = msgspec.to_builtins(sent, builtin_types=(Decimal,))
    return msgspec.convert(trees, tuple[Entitlement, ...])
