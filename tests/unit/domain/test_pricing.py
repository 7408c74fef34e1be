from decimal import Decimal

import pytest

from abaxus_core.domain.charges import (
    Charge,
    Package,
    PerUnit,
    Tiered,
    Volume,
)
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.pricing import rate
from tests.unit.domain.samples import (
    BASE_FEE,
    GROWTH_V1,
    GROWTH_V2,
    PACKAGE,
    VOLUME,
    per_unit,
    tier,
)

FLATS = (tier("10", "1", "5"), tier("20", "1", "3"), tier(None, "1", "2"))


@pytest.mark.parametrize(
    ("charge", "quantity", "minor"),
    [
        (GROWTH_V1, "1374923", 10875),
        (GROWTH_V2, "1374923", 8700),
        (BASE_FEE, "0", 4900),
        (per_unit("0.0002"), "500000", 10000),
        (VOLUME, "5000", 35000),
        (PACKAGE, "1500", 1600),
        (per_unit("0.08"), "142.75", 1142),
    ],
)
def test_golden_numbers(charge: Charge, quantity: str, minor: int) -> None:
    assert to_minor(rate(charge, Decimal(quantity)).exact_amount, "usd") == minor


def test_each_tier_has_its_share() -> None:
    shares = rate(GROWTH_V1, Decimal(1374923)).breakdown
    assert shares is not None
    assert [(share.tier, share.up_to, share.quantity, share.amount) for share in shares] == [
        (1, Decimal(100000), Decimal(100000), Decimal(0)),
        (2, Decimal(1000000), Decimal(900000), Decimal(90)),
        (3, None, Decimal(374923), Decimal("18.74615")),
    ]


@pytest.mark.parametrize(
    ("quantity", "tiers"), [("0", 1), ("0.5", 1), ("100000", 1), ("100000.0000000001", 2)]
)
def test_an_edge_belongs_to_the_lower_tier(quantity: str, tiers: int) -> None:
    shares = rate(GROWTH_V1, Decimal(quantity)).breakdown
    assert shares is not None
    assert len(shares) == tiers


@pytest.mark.parametrize(
    ("quantity", "amount"), [("0", "5"), ("10", "15"), ("10.5", "18.5"), ("25", "35")]
)
def test_a_flat_amount_is_owed_once_its_tier_is_reached(quantity: str, amount: str) -> None:
    charge = Tiered(id="chg_1", metric_key="calls", tiers=FLATS)
    assert rate(charge, Decimal(quantity)).exact_amount == Decimal(amount)


@pytest.mark.parametrize(
    ("quantity", "amount"), [("0", "5"), ("10", "15"), ("10.5", "13.5"), ("25", "27")]
)
def test_volume_owes_the_flat_amount_of_its_tier_only(quantity: str, amount: str) -> None:
    charge = Volume(id="chg_1", metric_key="calls", tiers=FLATS)
    rated = rate(charge, Decimal(quantity))
    assert rated.exact_amount == Decimal(amount)
    assert rated.breakdown is not None
    assert rated.breakdown[0].quantity == Decimal(quantity)


@pytest.mark.parametrize("charge", [per_unit(), GROWTH_V1, VOLUME, PACKAGE])
def test_zero_usage_is_free(charge: Charge) -> None:
    assert rate(charge, Decimal(0)).exact_amount == 0


@pytest.mark.parametrize("charge", [per_unit(), GROWTH_V1, VOLUME, PACKAGE])
def test_negative_usage_prices_as_zero_and_is_reported(charge: Charge) -> None:
    rated = rate(charge, Decimal("-3.5"))
    assert rated.negative
    assert rated.exact_amount == 0
    assert rated.breakdown == rate(charge, Decimal(0)).breakdown


@pytest.mark.parametrize(
    ("quantity", "packages"),
    [("0", 0), ("0.0000000001", 1), ("1000", 1), ("1000.0000000001", 2), ("2000", 2)],
)
def test_a_started_package_is_whole(quantity: str, packages: int) -> None:
    assert rate(PACKAGE, Decimal(quantity)).exact_amount == packages * 8


@pytest.mark.parametrize(("quantity", "packages"), [("4", 0), ("5", 0), ("5.5", 1), ("15.5", 2)])
def test_free_units_come_off_first(quantity: str, packages: int) -> None:
    charge = Package(
        id="chg_1",
        metric_key="calls",
        package_size=Decimal(10),
        package_price=Decimal(1),
        free_units=Decimal(5),
    )
    assert rate(charge, Decimal(quantity)).exact_amount == packages


def test_no_digit_is_lost() -> None:
    quantity = Decimal("9999999999999999999999999999.9999999999")
    price = Decimal("9999999999999999999999999999.9999999999")
    charge = PerUnit(id="chg_1", metric_key="calls", unit_price=price)
    amount = rate(charge, quantity).exact_amount
    assert "".join(map(str, amount.as_tuple().digits)) == str((10**38 - 1) ** 2)
