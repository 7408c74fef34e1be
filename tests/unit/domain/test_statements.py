"""What a customer would be invoiced, all subscriptions together."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from abaxus_core.domain.charges import FlatFee, Package, PerUnit
from abaxus_core.domain.invoices import Line
from abaxus_core.domain.lives import Life, life_of
from abaxus_core.domain.periods import CADENCES
from abaxus_core.domain.statements import (
    AMOUNT_MINOR_MAX,
    check_amounts,
    check_cutoff,
    effective_cutoff,
    is_behind,
    moves_money,
    preview_lines,
)
from abaxus_core.domain.subscriptions import Subscription
from abaxus_core.errors import InvalidInput

MAY = datetime(2026, 5, 1, tzinfo=UTC)
MONTHLY = CADENCES["monthly"]
SECOND = timedelta(seconds=1)


def life(start_at: datetime, end_at: datetime | None = None) -> Life:
    return life_of(
        Subscription(
            id="sub_1",
            customer_no=1,
            customer_id="acme",
            plan_id="growth",
            plan_version=1,
            start_at=start_at,
            end_at=end_at,
            created_at=start_at,
        )
    )


def line(amount_minor: int, owed_minor: int | None = None) -> Line:
    return Line(
        kind="usage",
        description="calls",
        exact_amount=Decimal(amount_minor),
        amount_minor=amount_minor,
        owed_minor=owed_minor,
    )


@pytest.mark.parametrize(
    ("before_the_end", "means_the_end"),
    [(timedelta(0), True), (SECOND, True), (SECOND / 2, True), (SECOND * 1.001, False)],
)
def test_a_cutoff_snaps_to_the_end_of_a_period(
    before_the_end: timedelta, means_the_end: bool
) -> None:
    lives = [(life(datetime(2026, 1, 1, tzinfo=UTC)), MONTHLY)]
    cutoff = MAY - before_the_end
    assert effective_cutoff(cutoff, lives) == (MAY if means_the_end else cutoff)


def test_a_cutoff_snaps_to_the_end_of_a_life() -> None:
    ended = life(datetime(2026, 1, 1, tzinfo=UTC), end_at=datetime(2026, 4, 16, tzinfo=UTC))
    cutoff = datetime(2026, 4, 15, 23, 59, 59, tzinfo=UTC)
    assert effective_cutoff(cutoff, [(ended, MONTHLY)]) == ended.end_at


def test_one_subscription_whose_period_ends_is_enough() -> None:
    lives = [
        (life(datetime(2026, 1, 15, tzinfo=UTC)), MONTHLY),
        (life(datetime(2026, 1, 1, tzinfo=UTC)), MONTHLY),
        (life(MAY + SECOND), MONTHLY),
    ]
    assert effective_cutoff(MAY - SECOND, lives) == MAY


def test_a_cutoff_stays_where_there_is_no_subscription() -> None:
    assert effective_cutoff(MAY - SECOND, []) == MAY - SECOND


def test_cutoffs_never_go_back() -> None:
    assert is_behind(MAY - SECOND, MAY)
    assert not is_behind(MAY, MAY)
    assert not is_behind(MAY, None)
    check_cutoff(MAY, MAY)
    with pytest.raises(InvalidInput, match="2026-05-01T00:00:00Z") as refused:
        check_cutoff(MAY - SECOND, MAY)
    assert refused.value.field == "cutoff_date"


def test_amounts_that_meet_at_zero_move_money() -> None:
    assert moves_money([line(5), line(-5)])
    assert not moves_money([line(0)])
    assert not moves_money([])


@pytest.mark.parametrize("sign", [1, -1])
def test_amounts_are_bounded_on_both_sides(sign: int) -> None:
    check_amounts([line(sign * AMOUNT_MINOR_MAX), line(0, sign * AMOUNT_MINOR_MAX)])
    for beyond in (line(sign * (AMOUNT_MINOR_MAX + 1)), line(0, sign * (AMOUNT_MINOR_MAX + 1))):
        with pytest.raises(InvalidInput, match="too large"):
            check_amounts([beyond])


def test_a_preview_has_a_line_for_every_charge() -> None:
    charges = (
        FlatFee(id="chg_1", amount=Decimal("49.00")),
        PerUnit(id="chg_2", metric_key="calls", unit_price=Decimal("0.08")),
        Package(id="chg_3", metric_key="files", package_size=Decimal(10), package_price=Decimal(1)),
    )
    lines = preview_lines(charges, {"calls": Decimal("142.75")}, "usd")
    assert [(one.charge_id, one.quantity, one.amount_minor) for one in lines] == [
        ("chg_1", Decimal(1), 4900),
        ("chg_2", Decimal("142.75"), 1142),
        ("chg_3", Decimal(0), 0),
    ]


def test_a_preview_of_usage_that_is_not_priced() -> None:
    with pytest.raises(InvalidInput) as refused:
        preview_lines((), {"calls": Decimal(1)}, "usd")
    assert refused.value.field == "usage.calls"
