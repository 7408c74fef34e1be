"""What a billing period owes of flat fees, however the life turns in it."""

from decimal import Decimal

import pytest

from abaxus_core.domain.amendments import Amendment
from abaxus_core.domain.charges import Charge, FlatFee
from abaxus_core.domain.fees import describe_fee, fees_of, is_due, kind_of, step_of
from abaxus_core.domain.lives import Life, clip, life_of
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.pricing import amount_of
from abaxus_core.domain.subscriptions import Terms
from tests.unit.domain.samples import APRIL, MAY, at, per_unit, subscription
from tests.unit.domain.test_lives import after, amendment

V1, V2, V3, V4 = (Terms(plan_id="growth", plan_version=version) for version in (1, 2, 3, 4))
OLD = FlatFee(id="chg_old", description="Base fee", amount=Decimal("49.00"))
NEW = FlatFee(id="chg_new", amount=Decimal("90.00"))
DEAR = FlatFee(id="chg_dear", amount=Decimal("300.00"))
CHARGES: dict[Terms, tuple[Charge, ...]] = {
    V1: (OLD, per_unit()),
    V2: (NEW, per_unit()),
    V3: (DEAR,),
    V4: (per_unit(),),
}
ENDLESS = life_of(subscription())


def owed(life: Life) -> list[tuple[str, int]]:
    """Charge and cents of each fee of April, in order."""
    return [
        (fee.charge.id, to_minor(amount_of(step_of(fee, APRIL)), "usd"))
        for fee in fees_of(life, APRIL, CHARGES)
    ]


def change(day: str, version: int, *, prorate: bool = False) -> Amendment:
    return amendment("plan_change", f"2026-04-{day}", version=version, prorate=prorate)


FULL = ("chg_old", 4900)


@pytest.mark.parametrize(
    ("amendments", "expected"),
    [
        pytest.param([], [FULL], id="nothing"),
        pytest.param([change("21", 2)], [FULL], id="the new fee starts with the next period"),
        pytest.param(
            [change("21", 2, prorate=True)],
            [FULL, ("chg_old", -1633), ("chg_new", 3000)],
            id="shares of ten days of thirty",
        ),
        pytest.param(
            [change("21T18:00", 2, prorate=True)],
            [FULL, ("chg_old", -1633), ("chg_new", 3000)],
            id="a started day counts whole",
        ),
        pytest.param(
            [change("11", 2, prorate=True), change("21", 3, prorate=True)],
            [
                FULL,
                ("chg_old", -3267),
                ("chg_new", 6000),
                ("chg_new", -3000),
                ("chg_dear", 10000),
            ],
            id="twice",
        ),
        pytest.param(
            [change("11", 2), change("21", 3, prorate=True)],
            [FULL, ("chg_old", -1633), ("chg_dear", 10000)],
            id="what is given back is what was taken",
        ),
        pytest.param([amendment("cancel", "2026-04-21")], [FULL], id="cancelled"),
        pytest.param(
            [amendment("cancel", "2026-04-21", prorate=True)],
            [FULL, ("chg_old", -1633)],
            id="cancelled for a share",
        ),
        pytest.param(
            [amendment("end_date_change", "2026-04-10", end="2026-04-21", prorate=True)],
            [FULL, ("chg_old", -1633)],
            id="ended for a share",
        ),
        pytest.param([amendment("pause", "2026-04-11")], [FULL], id="paused"),
        pytest.param(
            [amendment("pause", "2026-04-11", resume="2026-04-21", prorate=True)],
            [FULL, ("chg_old", -3267), ("chg_old", 1633)],
            id="paused for shares",
        ),
        pytest.param(
            [
                amendment("pause", "2026-04-11", prorate=True),
                change("15", 2),
                amendment("resume", "2026-04-21", prorate=True),
            ],
            [FULL, ("chg_old", -3267), ("chg_new", 3000)],
            id="changed while paused",
        ),
        pytest.param(
            [amendment("pause", "2026-04-11"), change("21", 2, prorate=True)],
            [FULL, ("chg_old", -1633), ("chg_new", 3000)],
            id="paused at full fee, then changed",
        ),
        pytest.param(
            [amendment("pause", "2026-04-11", prorate=True), amendment("cancel", "2026-04-21")],
            [FULL, ("chg_old", -3267)],
            id="cancelled while paused",
        ),
        pytest.param([amendment("pause", "2026-04-01")], [], id="paused from end to end"),
        pytest.param(
            [amendment("pause", "2026-04-01", resume="2026-04-21")],
            [FULL],
            id="active at the end of it only",
        ),
        pytest.param(
            [amendment("pause", "2026-04-01", resume="2026-04-21", prorate=True)],
            [("chg_old", 1633)],
            id="active at the end of it only, for a share",
        ),
        pytest.param(
            [change("11", 2), change("21", 1, prorate=True)],
            [FULL],
            id="there and back: the share given back is the share taken",
        ),
        pytest.param(
            [change("11", 4, prorate=True), change("21", 2, prorate=True)],
            [FULL, ("chg_old", -3267), ("chg_new", 3000)],
            id="by way of a version without a fee",
        ),
        pytest.param(
            [
                change("21", 2, prorate=True),
                amendment("pause", "2026-04-21", prorate=True),
            ],
            [FULL, ("chg_old", -1633)],
            id="changed and paused at one instant",
        ),
        pytest.param([change("01", 2, prorate=True)], [("chg_new", 9000)], id="at the start"),
    ],
)
def test_fees_of_a_period(amendments: list[Amendment], expected: list[tuple[str, int]]) -> None:
    assert owed(after(ENDLESS, *amendments)) == expected


def test_the_period_after_owes_the_new_fee() -> None:
    changed = after(ENDLESS, change("21", 2))
    assert [fee.charge for fee in fees_of(changed, MAY, CHARGES)] == [NEW]


def test_an_end_within_the_period_owes_it_in_full() -> None:
    assert owed(life_of(subscription(end_at=at("2026-04-16")))) == [FULL]


def test_when_a_share_is_due() -> None:
    life = after(ENDLESS, change("21", 2, prorate=True))
    fees = fees_of(life, APRIL, CHARGES)
    assert not any(is_due(fee, clip(APRIL, life), at("2026-04-30")) for fee in fees)
    assert all(is_due(fee, clip(APRIL, life), APRIL.end) for fee in fees)


def test_the_share_of_a_fee_in_advance_is_due_at_the_end_that_gives_it_back() -> None:
    ahead = FlatFee(id="chg_ahead", amount=Decimal("49.00"), billing="in_advance")
    life = after(ENDLESS, amendment("cancel", "2026-04-21", prorate=True))
    taken, back = fees_of(life, APRIL, {V1: (ahead,)})
    lasting = clip(APRIL, life)
    assert is_due(taken, lasting, at("2026-04-02"))
    assert not is_due(back, lasting, at("2026-04-20"))
    assert is_due(back, lasting, lasting.end)


def test_what_lines_of_shares_say() -> None:
    full, back, share = fees_of(after(ENDLESS, change("21", 2, prorate=True)), APRIL, CHARGES)
    assert [kind_of(fee) for fee in (full, back, share)] == [
        "flat_fee",
        "proration_credit",
        "proration_charge",
    ]
    assert describe_fee(full, APRIL) == "Base fee"
    assert describe_fee(back, APRIL) == "Base fee, credit for 10 of 30 days"
    assert describe_fee(share, APRIL) == "Flat fee, for 10 of 30 days"
