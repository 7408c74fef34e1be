"""Phases say at every later instant what the lives of the subscriptions say then."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from abaxus_core.domain.amendments import Amendment, AmendmentType
from abaxus_core.domain.entitlement_agreement import disagreement
from abaxus_core.domain.entitlement_documents import Document, place_at
from abaxus_core.domain.entitlement_phases import Catalogue, Held, document_of
from abaxus_core.domain.lives import (
    CannotApply,
    amended,
    current_period,
    life_of,
    status_at,
    terms_at,
)
from abaxus_core.domain.periods import CADENCES, Period
from abaxus_core.domain.subscriptions import Subscription, Terms
from tests.property.lives import DAY, HOUR

HISTORIES = int(os.environ.get("ABAXUS_TEST_HISTORIES", "2000"))
START = datetime(2026, 1, 31, 6, tzinfo=UTC)
FAR = START + 900 * DAY
TERMS = [Terms(plan_id="plan", plan_version=version) for version in (1, 2, 3)]
CATALOGUE = Catalogue(granted=dict.fromkeys(TERMS, ()), metrics={})
TYPES: Sequence[AmendmentType] = (
    *("plan_change", "pause", "resume") * 3,
    "end_date_change",
    "cancel",
)

# Few, so that they meet.
instants = st.integers(-2, 40).map(lambda steps: START + steps * 6 * HOUR)
amendments = st.builds(
    lambda number, type_, at, version, lasts: Amendment(
        id=f"amd_{number}",
        subscription_id="sub",
        type=type_,
        effective="",
        effective_at=at,
        plan_id="plan" if type_ == "plan_change" else None,
        plan_version=version if type_ == "plan_change" else None,
        resume_at=at + lasts if lasts and type_ == "pause" else None,
        end_at=at + lasts if lasts and type_ == "end_date_change" else None,
        created_at=START,
    ),
    st.integers(0, 999),
    st.sampled_from(TYPES),
    instants,
    st.sampled_from([1, 2, 3]),
    st.sampled_from([None, 6 * HOUR, 30 * HOUR, 40 * DAY]),
)


@st.composite
def subscriptions(draw: st.DrawFn, applied_by: datetime) -> Subscription:
    """What was due by then is applied, as far as it can be; the rest is pending."""
    start_at = draw(instants)
    lasts = draw(st.sampled_from([None, None, 12 * HOUR, 5 * DAY]))
    asked = sorted(
        draw(st.lists(amendments, max_size=6)), key=lambda one: (one.effective_at, one.id)
    )
    subscription = Subscription(
        id=f"sub_{draw(st.integers(0, 999))}",
        customer_no=1,
        customer_id="acme",
        plan_id="plan",
        plan_version=1,
        start_at=start_at,
        end_at=None if lasts is None else start_at + lasts,
        created_at=START,
    )
    return msgspec.structs.replace(
        subscription, amendments=tuple(settled(subscription, asked, applied_by))
    )


def settled(
    subscription: Subscription, asked: Sequence[Amendment], applied_by: datetime
) -> Iterator[Amendment]:
    life = life_of(subscription)
    for one in asked:
        if one.effective_at > applied_by:
            yield one
            continue
        try:
            life = amended(life, one)
        except CannotApply:
            continue
        yield msgspec.structs.replace(one, status="applied")


@st.composite
def customers(draw: st.DrawFn) -> tuple[datetime, list[Held]]:
    """Asked some time after a worker came round last."""
    applied_by = draw(instants)
    now = applied_by + draw(st.sampled_from([timedelta(), 6 * HOUR, 3 * DAY]))
    found = draw(
        st.lists(
            st.builds(
                Held,
                subscription=subscriptions(applied_by),
                cadence=st.sampled_from([CADENCES["daily"], CADENCES["weekly"]]),
            ),
            max_size=3,
            unique_by=lambda each: each.subscription.id,
        )
    )
    return now, found


def running(held: Sequence[Held], instant: datetime) -> list[tuple[str, Terms, Period | None]]:
    """What runs then, by the lives."""
    found = []
    for each in sorted(held, key=lambda one: (one.subscription.start_at, one.subscription.id)):
        life = life_of(each.subscription, due_by=instant)
        if status_at(life, instant) == "active":
            period = current_period(life, each.cadence, instant)
            found.append((each.subscription.id, terms_at(life, instant), period))
    return found


def told(document: Document, instant: datetime) -> list[tuple[str, Terms, Period | None]]:
    """What runs then, by the document."""
    place = place_at(document, instant)
    assert place is not None
    plans = [Terms(plan_id=plan.plan_id, plan_version=plan.plan_version) for plan in document.plans]
    return [
        (one.subscription_id, plans[one.plan], one.period(instant))
        for one in document.phases[place].running
    ]


def later(document: Document, now: datetime) -> list[datetime]:
    """Instants at and around which anything may change, and one that is far."""
    steps = (START + number * 3 * HOUR for number in range(-4, 120))
    edges = [phase.until for phase in document.phases if phase.until is not None]
    close = (edge + by for edge in edges for by in (-timedelta.resolution, timedelta()))
    return [instant for instant in (*steps, *close, FAR) if instant >= now]


@settings(max_examples=HISTORIES // 4)
@given(customers())
def test_phases_are_what_the_lives_say(drawn: tuple[datetime, list[Held]]) -> None:
    now, held = drawn
    document = document_of(1, held, CATALOGUE, now=now)
    for instant in later(document, now):
        assert told(document, instant) == running(held, instant), instant


@settings(max_examples=HISTORIES // 8)
@given(customers(), st.integers(1, 4))
def test_fewer_phases_say_less_and_nothing_else(
    drawn: tuple[datetime, list[Held]], phases_max: int
) -> None:
    now, held = drawn
    whole = document_of(1, held, CATALOGUE, now=now)
    part = document_of(1, held, CATALOGUE, now=now, phases_max=phases_max)
    assert part.phases == whole.phases[:phases_max]
    assert all(one.running != other.running for one, other in pairwise(whole.phases))


@settings(max_examples=HISTORIES // 8)
@given(customers(), st.sampled_from([timedelta(), 6 * HOUR, 3 * DAY, 20 * DAY]), st.integers(1, 64))
def test_documents_made_at_different_times_grant_the_same(
    drawn: tuple[datetime, list[Held]], waited: timedelta, phases_max: int
) -> None:
    now, held = drawn
    earlier = document_of(1, held, CATALOGUE, now=now, phases_max=phases_max)
    assert (
        disagreement(earlier, document_of(1, held, CATALOGUE, now=now + waited), now + waited)
        is None
    )
