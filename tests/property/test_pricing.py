"""Tiers conserve quantity, and more usage never costs less where prices do not fall."""

from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from abaxus_core.domain.charges import Charge, Tiered, check_charge
from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.pricing import rate
from tests.property.strategies import (
    charges,
    graduated,
    packages,
    per_units,
    quantities,
    volumes,
)


@given(charges)
def test_what_is_drawn_can_be_sold(charge: Charge) -> None:
    check_charge(charge)


@given(graduated | volumes, quantities)
def test_tiers_conserve_quantity_and_amount(charge: Charge, quantity: Decimal) -> None:
    rated = rate(charge, quantity)
    assert rated.breakdown is not None
    with exact():
        assert sum((share.quantity for share in rated.breakdown), ZERO) == quantity
        assert sum((share.amount for share in rated.breakdown), ZERO) == rated.exact_amount


@given(graduated, quantities)
def test_every_share_stays_within_its_tier(charge: Tiered, quantity: Decimal) -> None:
    shares = rate(charge, quantity).breakdown or ()
    lower = ZERO
    for tier, share in zip(charge.tiers, shares, strict=False):
        with exact():
            assert tier.up_to is None or lower + share.quantity <= tier.up_to
        lower = tier.up_to or lower


@given(per_units | graduated | packages, quantities, quantities)
def test_more_usage_never_costs_less(charge: Charge, one: Decimal, other: Decimal) -> None:
    less, more = sorted([one, other])
    assert rate(charge, less).exact_amount <= rate(charge, more).exact_amount


@given(volumes, quantities, quantities)
def test_nor_under_volume_where_no_tier_is_cheaper(
    charge: Charge, one: Decimal, other: Decimal
) -> None:
    breakdowns = [rate(charge, quantity).breakdown or () for quantity in sorted([one, other])]
    (less,), (more,) = breakdowns
    assume(less.unit_price <= more.unit_price and less.flat_amount <= more.flat_amount)
    assert less.amount <= more.amount


@given(charges, quantities)
def test_below_zero_is_as_zero(charge: Charge, quantity: Decimal) -> None:
    assume(quantity > 0)
    below = rate(charge, quantity.copy_negate())
    assert below.negative
    assert below.exact_amount == rate(charge, ZERO).exact_amount


@given(per_units, st.lists(quantities, max_size=5))
def test_a_unit_price_is_blind_to_how_usage_is_cut(charge: Charge, parts: list[Decimal]) -> None:
    with exact():
        whole = rate(charge, sum(parts, ZERO)).exact_amount
        assert whole == sum((rate(charge, part).exact_amount for part in parts), ZERO)
