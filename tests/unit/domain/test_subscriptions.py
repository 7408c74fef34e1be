from typing import Any

import pytest

from abaxus_core.domain.periods import Period
from abaxus_core.domain.subscriptions import (
    Segment,
    Terms,
    billing_periods,
    check_life,
    current_period,
    segments,
    status_at,
)
from abaxus_core.errors import InvalidInput
from tests.unit.domain.samples import APRIL, MAY, MONTHLY, at, subscription

MID_MAY = at("2026-05-15T12:00")
ENDING = subscription(end_at=MID_MAY)
TERMS = Terms(plan_id="growth", plan_version=1)


@pytest.mark.parametrize(
    ("instant", "status"),
    [
        ("2026-03-31T23:59:59.999999", "scheduled"),
        ("2026-04-01T00:00:00", "active"),
        ("2026-05-15T11:59:59.999999", "active"),
        ("2026-05-15T12:00:00", "ended"),
    ],
)
def test_states(instant: str, status: str) -> None:
    assert status_at(ENDING, at(instant)) == status


def test_the_end_cuts_the_last_period_off() -> None:
    assert billing_periods(ENDING, MONTHLY, APRIL.start, at("2027-01-01")) == [
        APRIL,
        Period(start=MAY.start, end=MID_MAY),
    ]


def test_nothing_is_billed_outside_the_life() -> None:
    assert billing_periods(ENDING, MONTHLY, MID_MAY, at("2027-01-01")) == []
    assert billing_periods(ENDING, MONTHLY, at("2025-01-01"), APRIL.start) == []


def test_the_current_period() -> None:
    assert current_period(ENDING, MONTHLY, at("2026-04-30")) == APRIL
    assert current_period(ENDING, MONTHLY, MAY.start) == Period(start=MAY.start, end=MID_MAY)
    assert current_period(ENDING, MONTHLY, MID_MAY) is None
    assert current_period(ENDING, MONTHLY, at("2026-03-31")) is None


def test_a_period_is_one_segment() -> None:
    assert segments(ENDING, APRIL) == [Segment(start=APRIL.start, end=APRIL.end, terms=TERMS)]


@pytest.mark.parametrize("end", [APRIL.start, at("2026-03-31")])
def test_a_life_ends_after_it_starts(end: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_life(APRIL.start, end)
    assert refused.value.field == "end_date"
