from decimal import Decimal

import pytest

from abaxus_core.domain.money import to_minor
from abaxus_core.domain.pricing import amount_of
from abaxus_core.domain.proration import days_in, remaining_days, rest_of
from tests.unit.domain.samples import APRIL, at


@pytest.mark.parametrize(
    ("effective_at", "days"),
    [
        ("2026-04-01T00:00:00", 30),
        ("2026-04-21T00:00:00", 10),
        ("2026-04-21T00:00:00.000001", 10),
        ("2026-04-21T23:59:59", 10),
        ("2026-04-30T23:59:59.999999", 1),
        ("2026-05-01T00:00:00", 0),
    ],
)
def test_a_started_day_remains_whole(effective_at: str, days: int) -> None:
    assert remaining_days(APRIL, at(effective_at)) == days


def test_the_whole_period_is_the_whole_fee() -> None:
    assert days_in(APRIL) == 30
    assert amount_of(rest_of(Decimal("49.00"), APRIL, APRIL.start)) == Decimal("49.00")
    assert amount_of(rest_of(Decimal("49.00"), APRIL, at("2026-03-01"))) == Decimal("49.00")
    assert amount_of(rest_of(Decimal("49.00"), APRIL, APRIL.end)) == 0


def test_a_third_is_rounded_once() -> None:
    share = amount_of(rest_of(Decimal("49.00"), APRIL, at("2026-04-21")))
    assert to_minor(share, "usd") == 1633
