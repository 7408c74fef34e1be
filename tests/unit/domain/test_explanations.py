from decimal import Decimal

import msgspec
import pytest

from abaxus_core.domain.charges import Charge, FlatFee, Package, PerUnit, Tier, Tiered, Volume
from abaxus_core.domain.decimals import ZERO
from abaxus_core.domain.explanations import explain, faults
from abaxus_core.domain.invoices import Line
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.pricing import Step, rate

TIERS = (
    Tier(up_to=Decimal(10), unit_price=Decimal("0.5"), flat_amount=Decimal(1)),
    Tier(up_to=None, unit_price=Decimal("0.125")),
)
CHARGES = (
    PerUnit(id="chg_1", metric_key="calls", unit_price=Decimal("0.0333")),
    Tiered(id="chg_2", metric_key="calls", tiers=TIERS),
    Volume(id="chg_3", metric_key="calls", tiers=TIERS),
    Package(
        id="chg_4",
        metric_key="calls",
        package_size=Decimal(7),
        package_price=Decimal("2.50"),
        free_units=Decimal(3),
    ),
)


def line_of(charge: Charge, quantity: str) -> Line:
    rated = rate(charge, Decimal(quantity))
    owed_minor = to_minor(rated.exact_amount, "usd")
    return Line(
        kind="usage",
        description="calls",
        exact_amount=rated.exact_amount,
        amount_minor=owed_minor - 5,
        charge_id=charge.id,
        quantity=Decimal(quantity),
        owed_minor=owed_minor,
        previously_billed_minor=5,
        step=rated.step,
        tier_breakdown=rated.breakdown,
        event_count=None if isinstance(charge, FlatFee) else 1,
        digest=None if isinstance(charge, FlatFee) else 1,
        watermark=None if isinstance(charge, FlatFee) else 1,
    )


@pytest.mark.parametrize("quantity", ["-4", "0", "3", "10", "10.5", "24", "25.25"])
@pytest.mark.parametrize("charge", CHARGES, ids=lambda charge: type(charge).__name__)
def test_terms_add_up_to_what_is_owed(charge: Charge, quantity: str) -> None:
    line = line_of(charge, quantity)
    assert faults(line, "usd") == []
    assert explain(line).owed == line.exact_amount


def test_a_share_of_a_fee_is_explained_by_its_days() -> None:
    credit = Line(
        kind="proration_credit",
        description="Base fee",
        charge_id="chg_1",
        amount_minor=-1633,
        owed_minor=-1633,
        previously_billed_minor=0,
        step=Step(quantity=Decimal(-1), unit_price=Decimal("49.00"), days=10, of_days=30),
    )
    assert faults(credit, "usd") == []


def test_nothing_explains_what_is_owed_no_longer() -> None:
    reversal = Line(
        kind="adjustment",
        description="Base fee",
        charge_id="chg_1",
        amount_minor=-4900,
        owed_minor=0,
        previously_billed_minor=4900,
    )
    assert explain(reversal).terms == ()
    assert faults(reversal, "usd") == []


def test_credit_is_its_own_amount() -> None:
    credit = Line(
        kind="credit_applied",
        description="Credit applied",
        exact_amount=Decimal("-3.21"),
        amount_minor=-321,
    )
    assert faults(credit, "usd") == []


@pytest.mark.parametrize("charge", CHARGES, ids=lambda charge: type(charge).__name__)
def test_an_edited_line_is_told(charge: Charge) -> None:
    line = line_of(charge, "25.25")
    assert line.owed_minor is not None
    edits: tuple[dict[str, object], ...] = (
        {"owed_minor": line.owed_minor + 1},
        {"amount_minor": line.amount_minor + 1},
        {"previously_billed_minor": 6},
        {"quantity": Decimal("425.25")},
        {"step": None, "tier_breakdown": None},
    )
    for edit in edits:
        assert faults(msgspec.structs.replace(line, **edit), "usd") != [], edit


def test_free_units_are_taken_off_before_packages_are_counted() -> None:
    (term,) = explain(line_of(CHARGES[3], "24")).terms
    assert (term.step.quantity, term.amount, term.flat_amount) == (3, Decimal("7.50"), ZERO)
