"""Random lives for a real database: customers, their subscriptions, and all that goes wrong.

What becomes of a subscription is lives.py's; here are several at once, usage that comes twice or
late, three timings of amendments, and faults. stored_history.py plays them.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec
from hypothesis import strategies as st

from abaxus_core.domain.aggregation import Aggregation
from abaxus_core.domain.charges import Charge
from abaxus_core.domain.periods import CADENCES, Cadence
from tests.property.lives import (
    AHEAD,
    AMENDS,
    BILLS,
    CALCULATIONS,
    DAY,
    HOUR,
    USED_AT,
    VALUES,
    Amend,
    Bill,
    Calculate,
    When,
    priced,
    versions,
)
from tests.support.wire import Fault

Route = Literal["one", "batch", "backfill"]
Timing = Literal["immediate", "end_of_period", "at"]

CUSTOMERS_MAX = 2
STATEMENTS_MAX = 45
# By name, and how each counts; the first subscription prices the former, the second the others.
METRICS: Sequence[Mapping[str, Aggregation]] = (
    {"calls": "sum", "seats": "max", "level": "last", "users": "unique_count"},
    {"hits": "count", "low": "min", "latency": "percentile"},
)


class Used(msgspec.Struct, frozen=True, kw_only=True):
    metric_key: str
    when: When
    value: Decimal
    user: str


class Use(msgspec.Struct, frozen=True, kw_only=True):
    events: tuple[Used, ...]
    route: Route


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was sent before, under its key; `changed`: with another payload."""

    place: int
    changed: bool
    route: Route


class LandAll(msgspec.Struct, frozen=True):
    """A worker lands what was accepted."""


class ApplyDue(msgspec.Struct, frozen=True):
    """A worker applies what is due."""


class CancelPending(msgspec.Struct, frozen=True):
    """The amendment that waits longest is cancelled."""


StoredStep: TypeAlias = Use | Repeat | LandAll | Amend | CancelPending | ApplyDue | Calculate | Bill


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """`keyed`: asked for under an idempotency key. With a fault it is asked for, or done, again."""

    when: When
    step: StoredStep
    customer: int = 0
    subscription: int = 0
    timing: Timing = "immediate"
    keyed: bool = False
    fault: Fault | None = None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """Each customer has one of these, `after` so long from the start of all."""

    after: timedelta
    lasts: timedelta | None
    cadence: Cadence
    charges: Mapping[int, tuple[Charge, ...]]


class StoredPlan(msgspec.Struct, frozen=True, kw_only=True):
    start_at: datetime
    lead: timedelta
    customers: int
    subscriptions: tuple[Subscribed, ...]
    turns: tuple[Turn, ...]


def _subscribed(place: int) -> st.SearchStrategy[Subscribed]:
    usage = st.builds(
        lambda charge, key: msgspec.structs.replace(charge, metric_key=key),
        priced,
        st.sampled_from(list(METRICS[place])),
    )
    return st.builds(
        Subscribed,
        after=st.sampled_from([timedelta(), 5 * DAY, 17 * DAY + HOUR] if place else [timedelta()]),
        lasts=st.sampled_from([None, None, 10 * DAY, 35 * DAY + HOUR]),
        cadence=st.sampled_from([CADENCES[name] for name in ("weekly", "monthly", "monthly")]),
        charges=versions(usage),
    )


_ROUTES: tuple[Route, ...] = ("one", "batch", "batch", "backfill")
_used = st.builds(
    Used,
    metric_key=st.sampled_from([key for group in METRICS for key in group]),
    when=st.sampled_from(USED_AT),
    value=st.sampled_from([*VALUES, Decimal(-3)]),
    user=st.sampled_from(["ann", "bob", "cyd"]),
)


@st.composite
def _meeting(draw: st.DrawFn) -> tuple[Used, ...]:
    """Usage of one metric at one instant: then the order of arrival may count."""
    one = draw(_used)
    values = draw(st.lists(st.sampled_from(VALUES), min_size=2, max_size=3))
    return tuple(msgspec.structs.replace(one, value=value) for value in values)


_uses = st.builds(
    Use,
    events=_meeting() | st.lists(_used, min_size=2, max_size=6).map(tuple),
    route=st.sampled_from(_ROUTES),
)
_repeats = st.builds(
    Repeat, place=st.integers(0, 20), changed=st.booleans(), route=st.sampled_from(_ROUTES)
)
_work: st.SearchStrategy[StoredStep] = st.sampled_from([LandAll(), ApplyDue(), CancelPending()])
_steps: st.SearchStrategy[StoredStep] = st.one_of(
    _uses,
    _uses,
    _repeats,
    _work,
    st.sampled_from(AMENDS),
    st.sampled_from(AMENDS),
    st.sampled_from(BILLS),
    st.sampled_from(BILLS),
    st.sampled_from(CALCULATIONS),
)
_TIMINGS: tuple[Timing, ...] = ("immediate", "end_of_period", "at")
_faults = st.one_of(
    st.builds(Fault, at=st.integers(0, 2), kind=st.just("committed")),
    st.builds(
        Fault,
        at=st.integers(0, STATEMENTS_MAX),
        kind=st.sampled_from(["unsent", "unheard", "cancelled"]),
    ),
)
_turns = st.builds(
    Turn,
    when=st.sampled_from(AHEAD),
    step=_steps,
    customer=st.integers(0, CUSTOMERS_MAX - 1),
    subscription=st.integers(0, len(METRICS) - 1),
    timing=st.sampled_from(_TIMINGS),
    keyed=st.booleans(),
    fault=st.none() | _faults,
)
stored_plans = st.builds(
    StoredPlan,
    start_at=st.sampled_from(
        [datetime(2026, 1, 31, 6, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC)]
    ),
    lead=st.sampled_from([timedelta(), 30 * HOUR]),
    customers=st.integers(1, CUSTOMERS_MAX),
    subscriptions=st.one_of(st.tuples(_subscribed(0)), st.tuples(_subscribed(0), _subscribed(1))),
    turns=st.lists(_turns, min_size=8, max_size=20).map(tuple),
)
