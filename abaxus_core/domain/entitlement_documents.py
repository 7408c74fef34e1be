"""Resolved entitlements: what a customer is granted from now on, worked out when it changes.

A document follows from the customer's subscriptions, their amendments and the immutable versions of
plans. It says what is granted in each phase, so that pauses, starts, ends and amendments come into
force by time without anybody writing. Making one is entitlement_phases.py's, counting usage the
reader's.

A process keeps some ten thousand of them. Python looks for cycles through whatever is not marked
`gc=False`, and stands still meanwhile; none of these can be part of one.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property

import msgspec

from abaxus_core.domain.aggregation import Aggregation
from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.entitlements import (
    Combined,
    Entitlement,
    Grant,
    LimitEntitlement,
    combine,
    with_usage,
)
from abaxus_core.domain.periods import Cadence, Period, period_at
from abaxus_core.domain.usage_parts import Cut, cut

FORMAT = 1
BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)


class Metering(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a metric counts, as metrics.py has it; it never changes."""

    metric_no: int
    aggregation: Aggregation
    property: str | None = None
    percentile: Decimal | None = None


class Measure(msgspec.Struct, frozen=True, kw_only=True, dict=True, cache_hash=True):
    """What a limit counts against: a customer's usage of a metric in one billing period."""

    customer_no: int
    metering: Metering
    period: Period

    @cached_property
    def cut(self) -> Cut:
        return cut(self.period, self.metering.aggregation)


class GrantingPlan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What a plan version grants."""

    plan_id: str
    plan_version: int
    entitlements: tuple[Entitlement, ...]

    @cached_property
    def by_feature(self) -> Mapping[str, Entitlement]:
        return {each.feature_key: each for each in self.entitlements}


class Running(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A subscription that is active; `plan` is the place of its plan version in the document.

    Its billing periods follow from `start_at` and `cadence`, the last one cut off at `end_at`.
    """

    subscription_id: str
    plan: int
    start_at: datetime
    end_at: datetime | None
    cadence: Cadence

    def period(self, now: datetime) -> Period:
        """The billing period that holds `now`; a clock that is behind is in the first one."""
        whole = period_at(self.start_at, self.cadence, max(now, self.start_at))
        if self.end_at is None or whole.end <= self.end_at:
            return whole
        return Period(start=whole.start, end=self.end_at)


class Phase(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What runs until an instant, or for good; the most recently started last."""

    until: datetime | None
    running: tuple[Running, ...]


class Document(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The first phase reaches back for ever. Past the last one nothing is known.

    `meterings` are those of the limits of all its plans, by metric key.
    """

    format: int = FORMAT
    customer_no: int
    plans: tuple[GrantingPlan, ...] = ()
    meterings: Mapping[str, Metering] = {}
    phases: tuple[Phase, ...] = ()

    @cached_property
    def _resolved(self) -> dict[tuple[int, str], "_Resolved"]:
        """What has been asked for, by the place of the phase and the feature."""
        return {}

    def resolved(self, place: int, feature_key: str) -> "_Resolved":
        """What the phase at `place` grants of a feature, worked out once."""
        found = self._resolved.get((place, feature_key))
        if found is None:
            found = self._resolved[place, feature_key] = _resolve(self, place, feature_key)
        return found


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the database said of a customer at one instant, as far as it was asked.

    `version` grows with each change of the document; `used` is what had landed. Two snapshots that
    share document and `used` tell the same: neither is shared past a phase or a billing period.
    """

    version: int
    document: Document
    used: Mapping[Measure, Decimal]
    as_of: datetime


def covers(snapshot: Snapshot, feature_keys: Collection[str] | None, now: datetime) -> bool:
    """Return whether the snapshot answers for these features (None: all) at `now`.

    It does not past its last phase, nor where a new billing period has begun.
    """
    needed = measures(snapshot.document, feature_keys, now)
    return needed is not None and all(one in snapshot.used for one in needed)


def holding(snapshot: Snapshot) -> Period | None:
    """Return the time in which the snapshot tells the same of all that it covers.

    It lies within a phase, and in the billing periods that are counted. None past the last phase.
    """
    document = snapshot.document
    place = place_at(document, snapshot.as_of)
    if place is None:
        return None
    boundaries = [BEGINNING, *(phase.until or END for phase in document.phases)]
    counted = [one.period for one in snapshot.used]
    return Period(
        start=max([boundaries[place], *(period.start for period in counted)]),
        end=min([boundaries[place + 1], *(period.end for period in counted)]),
    )


def measures(
    document: Document, feature_keys: Collection[str] | None, now: datetime
) -> Sequence[Measure] | None:
    """Return what has to be counted for these features (None: all), each once.

    None past the last phase.
    """
    place = place_at(document, now)
    if place is None:
        return None
    keys = features(document, place) if feature_keys is None else feature_keys
    if len(keys) == 1:
        return document.resolved(place, next(iter(keys))).measures(now)
    found = (document.resolved(place, key).measures(now) for key in keys)
    return tuple(dict.fromkeys(one for each in found for one in each))


def combined(
    snapshot: Snapshot, feature_keys: Collection[str] | None, now: datetime
) -> list[Combined]:
    """Return what these features amount to, in their order; None: all that is granted, by name.

    The snapshot must cover them.
    """
    document = snapshot.document
    place = place_at(document, now)
    assert place is not None, "the snapshot covers what is asked"
    keys = features(document, place) if feature_keys is None else feature_keys
    return [document.resolved(place, key).combined(snapshot.used, now) for key in keys]


def place_at(document: Document, now: datetime) -> int | None:
    """Return the place of the phase that holds `now`; None past the last one."""
    for place, phase in enumerate(document.phases):
        if phase.until is None or now < phase.until:
            return place
    return None


def features(document: Document, place: int) -> list[str]:
    """Return the features that the phase at `place` grants, sorted."""
    plans = {running.plan for running in document.phases[place].running}
    return sorted({key for plan in plans for key in document.plans[plan].by_feature})


class _Counted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A limit's usage: a metric, counted in the billing periods of what grants it."""

    metering: Metering
    running: Running


class _Resolved(msgspec.Struct, kw_only=True, gc=False):
    """What a phase grants of a feature, as far as that does not depend on usage.

    Keeps what it counts until the next billing period: it is asked thousands of times in between.
    """

    base: Combined
    customer_no: int
    counted: tuple[_Counted, ...]
    known: tuple[Measure, ...] = ()
    known_in: Period | None = None

    def measures(self, now: datetime) -> Sequence[Measure]:
        if not self.counted or (self.known_in is not None and self.known_in.contains(now)):
            return self.known
        periods = [each.running.period(now) for each in self.counted]
        found = (
            Measure(customer_no=self.customer_no, metering=each.metering, period=period)
            for each, period in zip(self.counted, periods, strict=True)
        )
        self.known = tuple(dict.fromkeys(found))
        self.known_in = Period(
            start=max(period.start for period in periods), end=min(period.end for period in periods)
        )
        return self.known

    def combined(self, used: Mapping[Measure, Decimal], now: datetime) -> Combined:
        """Several limits count the same metric and period once, different ones each."""
        if not self.counted:
            return self.base
        needed = self.measures(now)
        if len(needed) == 1:
            return with_usage(self.base, used[needed[0]])
        with exact():
            total = sum((used[measure] for measure in needed), ZERO)
        return with_usage(self.base, total)


def _resolve(document: Document, place: int, feature_key: str) -> _Resolved:
    giving = []
    for running in document.phases[place].running:
        plan = document.plans[running.plan]
        entitlement = plan.by_feature.get(feature_key)
        if entitlement is not None:
            giving.append((running, _grant(running, plan, entitlement)))
    base = combine(feature_key, [grant for _, grant in giving], ZERO)
    counted = tuple(
        _Counted(metering=document.meterings[entitlement.metric_key], running=running)
        for running, grant in giving
        if isinstance(entitlement := grant.entitlement, LimitEntitlement) and base.type == "limit"
    )
    return _Resolved(base=base, customer_no=document.customer_no, counted=counted)


def _grant(running: Running, plan: GrantingPlan, entitlement: Entitlement) -> Grant:
    return Grant(
        plan_id=plan.plan_id,
        subscription_id=running.subscription_id,
        started_at=running.start_at,
        entitlement=entitlement,
    )
