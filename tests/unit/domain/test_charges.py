import json
from decimal import Decimal

import msgspec
import pytest

from abaxus_core.domain.charges import (
    TIERS_MAX,
    Charge,
    FlatFee,
    Tier,
    Tiered,
    Volume,
    check_charge,
    describe,
    model_of,
)
from abaxus_core.errors import InvalidInput
from tests.unit.domain.samples import BASE_FEE, GROWTH_V1, PACKAGE, VOLUME, per_unit, tier


@pytest.mark.parametrize(
    ("tiers", "field"),
    [
        ([], "tiers"),
        ([tier("10", "1"), tier("10", "1"), tier(None, "1")], "tiers[1].up_to"),
        ([tier("10", "1"), tier("5", "1"), tier(None, "1")], "tiers[1].up_to"),
        ([tier("10", "1"), tier("20", "1")], "tiers[1].up_to"),
        ([tier(None, "1"), tier("20", "1")], "tiers[0].up_to"),
        ([tier(None, "1"), tier(None, "1")], "tiers[0].up_to"),
        ([tier("0", "1"), tier(None, "1")], "tiers[0].up_to"),
        ([tier("-1", "1"), tier(None, "1")], "tiers[0].up_to"),
        ([tier("10", "1"), tier(None, "-1")], "tiers[1].unit_price"),
        ([tier("10", "1", "-1"), tier(None, "1")], "tiers[0].flat_amount"),
        ([tier("10", "1"), tier(None, "0.00000000001")], "tiers[1].unit_price"),
        ([tier("NaN", "1"), tier(None, "1")], "tiers[0].up_to"),
        ([tier("1E+28", "1"), tier(None, "1")], "tiers[0].up_to"),
        ([tier(None, "Infinity")], "tiers[0].unit_price"),
        ([tier(str(n + 1), "1") for n in range(TIERS_MAX)] + [tier(None, "1")], "tiers"),
    ],
)
@pytest.mark.parametrize("model", [Tiered, Volume])
def test_tiers_that_cannot_be_priced(
    model: type[Tiered | Volume], tiers: list[Tier], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_charge(model(id="chg_1", metric_key="calls", tiers=tuple(tiers)))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"package_size": Decimal(0)}, "package_size"),
        ({"package_size": Decimal(-3)}, "package_size"),
        ({"package_price": Decimal("-0.01")}, "package_price"),
        ({"free_units": Decimal(-1)}, "free_units"),
        ({"package_price": Decimal("NaN")}, "package_price"),
    ],
)
def test_packages_that_cannot_be_priced(change: dict[str, Decimal], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_charge(msgspec.structs.replace(PACKAGE, **change))
    assert refused.value.field == field


def test_fees_and_prices_are_not_negative() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        check_charge(per_unit("-1"))
    with pytest.raises(InvalidInput, match="negative"):
        check_charge(FlatFee(id="chg_1", amount=Decimal(-1)))


@pytest.mark.parametrize("charge", [BASE_FEE, GROWTH_V1, VOLUME, PACKAGE, per_unit("0.10")])
def test_a_charge_is_the_same_after_it_was_stored(charge: Charge) -> None:
    stored = msgspec.json.encode(charge)
    assert msgspec.json.decode(stored, type=Charge) == charge
    assert json.loads(stored)["pricing_model"] == model_of(charge)


def test_a_line_says_what_it_is_for() -> None:
    assert describe(BASE_FEE) == "Base fee"
    assert describe(GROWTH_V1) == "calls"
    assert describe(FlatFee(id="chg_1", amount=Decimal(1))) == "Flat fee"
