from typing import Any

import pytest

from abaxus_core.domain.periods import Period
from abaxus_core.domain.subscriptions import (
    Segment,
    Terms,
    billing_periods,
    check_life,
    current_period,
    lives_overlap,
    metrics_priced_twice,
    segments,
    status_at,
    terms_at,
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
    assert terms_at(ENDING, at(instant)) == (TERMS if status == "active" else None)


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


def test_one_that_starts_where_the_other_ends_does_not_overlap() -> None:
    following = subscription(id="sub_2", start_at=MID_MAY)
    assert not lives_overlap(ENDING, following)
    assert not lives_overlap(following, ENDING)
    assert lives_overlap(subscription(), following)


def test_a_metric_is_priced_once_at_a_time() -> None:
    new = subscription(id="sub_2", start_at=MAY.start)
    existing = [
        (ENDING, frozenset({"calls", "bytes"})),
        (subscription(id="sub_3", end_at=MAY.start), frozenset({"seats"})),
    ]
    assert metrics_priced_twice(new, frozenset({"calls", "seats"}), existing) == ["calls"]
