"""Making a resolved document: the phases that follow from a customer's subscriptions.

A phase ends where a subscription starts, pauses, resumes, changes plan or ends, by an amendment
that is applied or one that is pending: it counts from the instant that it is due.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from abaxus_core.domain.entitlement_documents import (
    Document,
    GrantingPlan,
    Metering,
    Phase,
    Running,
)
from abaxus_core.domain.entitlements import Entitlement, LimitEntitlement
from abaxus_core.domain.lives import CannotApply, Life, amended, life_of, status_at, terms_at
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import Cadence
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.errors import InvariantBroken

PHASES_MAX = 64
RUNNING_MAX = 1_000


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription of the customer, and the cadence of its plan version."""

    subscription: Subscription
    cadence: Cadence


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """What plan versions grant, and the metrics of their limits by key."""

    granted: Mapping[Terms, tuple[Entitlement, ...]]
    metrics: Mapping[str, Metric]


def terms_of(held: Iterable[Held]) -> set[Terms]:
    """Return all plan versions that these subscriptions are on, or may be."""
    found = set()
    for each in held:
        one = each.subscription
        found.add(Terms(plan_id=one.plan_id, plan_version=one.plan_version))
        for change in one.amendments:
            if change.plan_id is not None and change.plan_version is not None:
                found.add(Terms(plan_id=change.plan_id, plan_version=change.plan_version))
    return found


def metric_keys_of(granted: Iterable[Sequence[Entitlement]]) -> set[str]:
    """Return the metrics that limits count."""
    return {one.metric_key for each in granted for one in each if isinstance(one, LimitEntitlement)}


def document_of(
    customer_no: int,
    held: Sequence[Held],
    catalogue: Catalogue,
    *,
    now: datetime,
    phases_max: int = PHASES_MAX,
) -> Document:
    """Return what the customer is granted from `now` on, as far as `phases_max` phases tell.

    It is cut off earlier, but not before the first, where more than RUNNING_MAX subscriptions would
    stand in it.
    """
    ordered = sorted(held, key=lambda each: (each.subscription.start_at, each.subscription.id))
    courses = [_Course(each, now) for each in ordered]
    since = max([now, *(course.known_until for course in courses)])
    instants = sorted({since, *(at for course in courses for at in course.turns if at > since)})
    plans: dict[Terms, int] = {}
    phases = tuple(_bounded(_phases(courses, instants, plans), phases_max))
    return Document(
        customer_no=customer_no,
        plans=tuple(_plan(terms, catalogue) for terms in plans),
        meterings=_meterings(plans, catalogue),
        phases=phases,
    )


class _Course:
    """The lives that a subscription has as its pending amendments fall due.

    `known_until` is when its last applied amendment took effect: it has done so, whatever an
    earlier clock may say. `turns` are the instants at which anything may change.
    """

    def __init__(self, held: Held, now: datetime) -> None:
        self._held = held
        self._lives = list(_lives(held.subscription, now))
        effective = [a.effective_at for a in held.subscription.amendments if a.status == "applied"]
        self.known_until = max(effective, default=now)
        self.turns = {at for _, life in self._lives for at in _edges(life)}
        self.turns |= {at for at, _ in self._lives}

    def at(self, instant: datetime, plans: dict[Terms, int]) -> Running | None:
        """What runs then; None unless the subscription is active."""
        life = [life for at, life in self._lives if at <= instant][-1]
        if status_at(life, instant) != "active":
            return None
        terms = terms_at(life, instant)
        return Running(
            subscription_id=self._held.subscription.id,
            plan=plans.setdefault(terms, len(plans)),
            start_at=life.start_at,
            end_at=life.end_at,
            cadence=self._held.cadence,
        )


def _lives(subscription: Subscription, now: datetime) -> Iterator[tuple[datetime, Life]]:
    """The life at `now`, and each later one from the instant that it is known."""
    life = life_of(subscription, due_by=now)
    yield now, life
    for amendment in subscription.amendments:
        if amendment.status == "pending" and amendment.effective_at > now:
            with suppress(CannotApply):
                life = amended(life, amendment)
            yield amendment.effective_at, life


def _edges(life: Life) -> Iterator[datetime]:
    yield life.start_at
    yield from (stretch.start for stretch in life.stretches)
    yield from (pause.start for pause in life.pauses)
    yield from (pause.end for pause in life.pauses if pause.end is not None)
    if life.end_at is not None:
        yield life.end_at


def _phases(
    courses: Sequence[_Course], instants: Sequence[datetime], plans: dict[Terms, int]
) -> Iterator[Phase]:
    """A phase from each instant to the next one where something else runs, the last for good."""
    running = _running(courses, instants[0], plans)
    for instant in instants[1:]:
        following = _running(courses, instant, plans)
        if following != running:
            yield Phase(until=instant, running=running)
            running = following
    yield Phase(until=None, running=running)


def _running(
    courses: Sequence[_Course], instant: datetime, plans: dict[Terms, int]
) -> tuple[Running, ...]:
    found = (course.at(instant, plans) for course in courses)
    return tuple(one for one in found if one is not None)


def _bounded(phases: Iterable[Phase], phases_max: int) -> Iterator[Phase]:
    left = RUNNING_MAX
    for place, phase in enumerate(phases):
        left -= len(phase.running)
        if place == phases_max or (place > 0 and left < 0):
            return
        yield phase


def _plan(terms: Terms, catalogue: Catalogue) -> GrantingPlan:
    return GrantingPlan(
        plan_id=terms.plan_id,
        plan_version=terms.plan_version,
        entitlements=catalogue.granted[terms],
    )


def _meterings(plans: Iterable[Terms], catalogue: Catalogue) -> dict[str, Metering]:
    keys = metric_keys_of(catalogue.granted[terms] for terms in plans)
    return {key: _metering(key, catalogue.metrics) for key in sorted(keys)}


def _metering(metric_key: str, metrics: Mapping[str, Metric]) -> Metering:
    metric = metrics.get(metric_key)
    if metric is None:
        raise InvariantBroken(f"a plan grants metric {metric_key}, which is not there")
    return Metering(
        metric_no=metric.metric_no,
        aggregation=metric.aggregation,
        property=metric.property,
        percentile=metric.percentile,
    )
