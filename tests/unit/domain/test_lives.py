"""What amendments make of a life: states, periods, segments, and what cannot be applied."""

import msgspec
import pytest

from abaxus_core.domain.amendments import Amendment, AmendmentType
from abaxus_core.domain.lives import (
    CannotApply,
    Life,
    Segment,
    amended,
    billing_periods,
    current_period,
    life_of,
    segments,
    status_at,
    terms_at,
)
from abaxus_core.domain.periods import Period
from abaxus_core.domain.subscriptions import Terms
from tests.unit.domain.samples import APRIL, MAY, MONTHLY, at, subscription

MID_MAY = at("2026-05-15T12:00")
ENDING = life_of(subscription(end_at=MID_MAY))
ENDLESS = life_of(subscription())
V1, V2 = (Terms(plan_id="growth", plan_version=version) for version in (1, 2))


def amendment(
    type_: AmendmentType,
    effective_at: str,
    *,
    version: int | None = None,
    end: str | None = None,
    resume: str | None = None,
    prorate: bool = False,
) -> Amendment:
    return Amendment(
        id="amd_1",
        subscription_id="sub_1",
        type=type_,
        effective=effective_at,
        effective_at=at(effective_at),
        plan_id=None if version is None else "growth",
        plan_version=version,
        prorate=prorate,
        resume_at=None if resume is None else at(resume),
        end_at=None if end is None else at(end),
        created_at=APRIL.start,
    )


def after(life: Life, *amendments: Amendment) -> Life:
    for one in amendments:
        life = amended(life, one)
    return life


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


def test_a_period_that_nothing_changes_is_one_segment() -> None:
    assert segments(ENDING, APRIL) == [Segment(start=APRIL.start, end=APRIL.end, terms=V1)]


def test_a_plan_change_cuts_a_period_in_two() -> None:
    changed = after(ENDLESS, amendment("plan_change", "2026-04-20", version=2))
    assert segments(changed, APRIL) == [
        Segment(start=APRIL.start, end=at("2026-04-20"), terms=V1),
        Segment(start=at("2026-04-20"), end=APRIL.end, terms=V2),
    ]
    assert segments(changed, MAY) == [Segment(start=MAY.start, end=MAY.end, terms=V2)]
    assert (terms_at(changed, at("2026-04-19")), terms_at(changed, at("2026-04-20"))) == (V1, V2)


def test_a_change_there_and_back_cuts_it_in_three() -> None:
    changed = after(
        ENDLESS,
        amendment("plan_change", "2026-04-10", version=2),
        amendment("plan_change", "2026-04-20", version=1),
    )
    assert [segment.terms for segment in segments(changed, APRIL)] == [V1, V2, V1]


def test_of_two_changes_at_one_instant_the_later_counts() -> None:
    changed = after(
        ENDLESS,
        amendment("plan_change", "2026-04-10", version=2),
        amendment("plan_change", "2026-04-10", version=3),
    )
    assert [segment.terms.plan_version for segment in segments(changed, APRIL)] == [1, 3]


def test_a_change_at_a_boundary_starts_the_next_period() -> None:
    changed = after(ENDLESS, amendment("plan_change", "2026-05-01", version=2))
    assert [segment.terms for segment in segments(changed, APRIL)] == [V1]
    assert [segment.terms for segment in segments(changed, MAY)] == [V2]


def test_a_pause_is_a_gap_in_its_segment() -> None:
    paused = after(
        ENDLESS, amendment("pause", "2026-04-10"), amendment("resume", "2026-04-12T06:00")
    )
    gap = Period(start=at("2026-04-10"), end=at("2026-04-12T06:00"))
    assert segments(paused, APRIL) == [
        Segment(start=APRIL.start, end=APRIL.end, terms=V1, pauses=(gap,))
    ]
    assert [status_at(paused, at(day)) for day in ("2026-04-09", "2026-04-10", "2026-04-13")] == [
        "active",
        "paused",
        "active",
    ]


def test_a_pause_may_end_by_itself_or_sooner() -> None:
    paused = after(ENDLESS, amendment("pause", "2026-04-10", resume="2026-05-10"))
    assert status_at(paused, at("2026-05-10")) == "active"
    sooner = after(paused, amendment("resume", "2026-04-12"))
    assert status_at(sooner, at("2026-04-12")) == "active"


def test_pauses_that_meet_are_one_and_one_of_no_length_is_none() -> None:
    longer = after(
        ENDLESS,
        amendment("pause", "2026-04-10", resume="2026-04-20"),
        amendment("pause", "2026-04-20", resume="2026-04-25"),
    )
    assert (
        longer.pauses
        == after(ENDLESS, amendment("pause", "2026-04-10", resume="2026-04-25")).pauses
    )
    none = after(ENDLESS, amendment("pause", "2026-04-10"), amendment("resume", "2026-04-10"))
    assert none == ENDLESS


def test_a_change_there_and_back_at_one_instant_is_none() -> None:
    changed = after(
        ENDLESS,
        amendment("plan_change", "2026-04-10", version=2),
        amendment("plan_change", "2026-04-10", version=1),
    )
    assert changed == ENDLESS


def test_a_period_that_is_paused_from_end_to_end_has_no_segment() -> None:
    paused = after(ENDLESS, amendment("pause", "2026-04-10"))
    assert segments(paused, MAY) == []
    assert current_period(paused, MONTHLY, at("2026-05-03")) == MAY
    twice = after(
        ENDLESS,
        amendment("pause", "2026-04-10", resume="2026-05-10"),
        amendment("pause", "2026-05-10"),
    )
    assert segments(twice, MAY) == []


def test_a_cancelled_life_ends_there() -> None:
    cancelled = after(ENDLESS, amendment("pause", "2026-04-05"), amendment("cancel", "2026-04-20"))
    assert status_at(cancelled, at("2026-04-20")) == "cancelled"
    assert billing_periods(cancelled, MONTHLY, APRIL.start, MAY.end) == [
        Period(start=APRIL.start, end=at("2026-04-20"))
    ]


def test_what_is_cancelled_before_it_starts_never_runs() -> None:
    cancelled = after(ENDLESS, amendment("cancel", "2026-03-20"))
    assert status_at(cancelled, at("2026-04-20")) == "cancelled"
    assert billing_periods(cancelled, MONTHLY, APRIL.start, MAY.end) == []


def test_an_end_can_be_moved_and_taken_away() -> None:
    later = after(ENDING, amendment("end_date_change", "2026-04-20", end="2026-05-20"))
    assert later.end_at == at("2026-05-20")
    assert after(ENDING, amendment("end_date_change", "2026-04-20")).end_at is None


@pytest.mark.parametrize(
    ("before", "then"),
    [
        ([], amendment("resume", "2026-04-10")),
        ([amendment("pause", "2026-04-05")], amendment("pause", "2026-04-10")),
        ([amendment("cancel", "2026-04-05")], amendment("cancel", "2026-04-10")),
        ([amendment("cancel", "2026-04-05")], amendment("plan_change", "2026-04-10", version=2)),
        ([], amendment("plan_change", "2026-04-10", version=1)),
        ([], amendment("pause", "2026-03-10")),
        (
            [amendment("end_date_change", "2026-04-05", end="2026-04-09")],
            amendment("plan_change", "2026-04-10", version=2),
        ),
    ],
)
def test_what_makes_no_sense_cannot_be_applied(before: list[Amendment], then: Amendment) -> None:
    with pytest.raises(CannotApply):
        amended(after(ENDLESS, *before), then)


def test_due_amendments_count_before_they_are_applied() -> None:
    waiting = (
        amendment("plan_change", "2026-04-10", version=2),
        amendment("resume", "2026-04-11"),
        amendment("cancel", "2026-04-20"),
    )
    amended_one = subscription(amendments=waiting)
    assert life_of(amended_one) == ENDLESS
    life = life_of(amended_one, due_by=at("2026-04-15"))
    assert terms_at(life, at("2026-04-15")) == V2
    assert life.end_at is None
    assert life_of(amended_one, due_by=at("2026-04-20")).cancelled


def test_applied_amendments_count_whatever_the_time() -> None:
    applied = msgspec.structs.replace(amendment("cancel", "2026-04-20"), status="applied")
    assert life_of(subscription(amendments=(applied,))).end_at == at("2026-04-20")
