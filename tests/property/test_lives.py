"""Whatever becomes of a subscription, all lines ever issued add up to one rating of its life.

What that comes to is life_oracle.py's, which knows nothing of how the product does it.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, product
from typing import Literal, TypeAlias, get_args

import msgspec
from hypothesis import given, note, settings
from hypothesis import strategies as st

from abaxus_core.domain.amendments import Amendment, AmendmentType
from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.explanations import faults
from abaxus_core.domain.fees import fees_of
from abaxus_core.domain.instants import AHEAD_MAX
from abaxus_core.domain.invoices import Line, LineKind, draft
from abaxus_core.domain.lives import CannotApply, Life, amended, life_of, status_at
from abaxus_core.domain.periods import CADENCES, Cadence, period_at
from abaxus_core.domain.pricing import (
    Charge,
    FlatFee,
    Package,
    PerUnit,
    Tier,
    Tiered,
    UsageCharge,
    Volume,
)
from abaxus_core.domain.statements import effective_cutoff, is_behind, moves_money
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.domain.true_up import (
    Billed,
    ChargeKey,
    Due,
    Usage,
    dues_of,
    fee_key,
    fee_lines,
    key_of,
    reversals,
    usage_lines,
)
from abaxus_core.domain.windows import Window, billed_through_after, windows_due
from tests.property.ledger import billed_by, billed_to, key_of_line
from tests.property.life_oracle import Event, Key, Owed, Story, boundary, owed, taking_effect

HISTORIES = int(os.environ.get("ABAXUS_TEST_HISTORIES", "2000"))

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEPT_FOR = timedelta(hours=24)
FAR = timedelta(days=40)

SUM, PEAK = "calls", "seats"

Billing = Literal["in_arrears", "in_advance"]
Mode = Literal["alone", "bulk", "calculated"]


class When(msgspec.Struct, frozen=True, kw_only=True):
    """So long after now, or after the boundary of periods that comes next."""

    near: Literal["now", "boundary"]
    offset: timedelta


class Land(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of some instants by metric; what lies too far ahead is refused."""

    events: tuple[tuple[str, When, Decimal], ...]


class Amend(msgspec.Struct, frozen=True, kw_only=True):
    """`lasts`: until the resumption of a pause, or until the end that is asked for.

    A pause of what is paused by then resumes it.
    """

    type: AmendmentType
    effective: When
    version: int
    prorate: bool
    lasts: timedelta | None


class Calculate(msgspec.Struct, frozen=True, kw_only=True):
    """`since`: only the billing periods that overlap so much time before the cutoff."""

    cutoff: When
    since: timedelta


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """`alone`: a request; `bulk`: marked even if nothing is new; `calculated`: by what was kept."""

    cutoff: When
    mode: Mode


Step: TypeAlias = Land | Amend | Calculate | Bill


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription that is made `lead` before it starts, and what becomes of it, and when."""

    start_at: datetime
    lead: timedelta
    lasts: timedelta | None
    cadence: Cadence
    charges: Mapping[int, tuple[Charge, ...]]
    steps: tuple[tuple[When, Step], ...]


class Rating(msgspec.Struct, frozen=True, kw_only=True):
    """What the customer would be invoiced after so many invoices."""

    cutoff: datetime
    lines: tuple[Line, ...]
    billed_through: datetime | None
    invoices: int
    made_at: datetime


class History:
    """A customer with one subscription, amended and invoiced the way the services do it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = plan.start_at - plan.lead
        self.subscription = Subscription(
            id="sub_1",
            customer_no=1,
            customer_id="acme",
            plan_id="plan",
            plan_version=1,
            start_at=plan.start_at,
            end_at=None if plan.lasts is None else plan.start_at + plan.lasts,
            created_at=self.now,
        )
        self.landed: list[Event] = []
        self.lines: list[Line] = []
        self._charges = {_terms(version): charges for version, charges in plan.charges.items()}
        self._changed: list[Event] = []
        self._tried: list[Amendment] = []
        self._numbers = count(1)
        self._invoices = 0
        self._last_cutoff: datetime | None = None
        self._furthest = self.now
        self._kept: Rating | None = None
        self._credit_minor = 0
        self._collected_minor = 0

    def play(self, when: When, step: Step) -> None:
        self.now = max(self.now, self._at(when))
        match step:
            case Land():
                self._land(step)
            case Amend():
                self._amend(step)
            case Calculate():
                self._apply_due()
                self._kept = self._rate(self._at(step.cutoff), since=step.since)
            case Bill(mode="calculated"):
                self._bill_calculated()
            case Bill():
                cutoff = min(self._at(step.cutoff), self.now + AHEAD_MAX)
                self.bill(cutoff, bulk=step.mode == "bulk")

    def _at(self, when: When) -> datetime:
        if when.near == "now":
            return self.now + when.offset
        edges = (boundary(self.plan.start_at, self.plan.cadence, number) for number in count())
        return next(edge for edge in edges if edge > self.now) + when.offset

    def _land(self, step: Land) -> None:
        for metric_key, when, value in step.events:
            event = Event(metric_key=metric_key, occurred_at=self._at(when), value=value)
            if event.occurred_at <= self.now + AHEAD_MAX:
                self.landed.append(event)
                self._changed.append(event)

    def _amend(self, step: Amend) -> None:
        """Refused where it makes no sense, kept while it is not due."""
        self._apply_due()
        asked = self._asked(step)
        with suppress(CannotApply):
            amended(life_of(self.subscription, due_by=asked.effective_at), asked)
            self._keep_amendments([*self.subscription.amendments, asked])
            self._apply_due()

    def _asked(self, step: Amend) -> Amendment:
        effective_at = max(self.now, self._at(step.effective))
        until = None if step.lasts is None else effective_at + step.lasts
        life = life_of(self.subscription, due_by=effective_at)
        resumes = step.type == "pause" and status_at(life, effective_at) == "paused"
        type_: AmendmentType = "resume" if resumes else step.type
        changes = type_ == "plan_change"
        return Amendment(
            id=f"amd_{next(self._numbers)}",
            subscription_id=self.subscription.id,
            type=type_,
            effective="immediate",
            effective_at=effective_at,
            plan_id="plan" if changes else None,
            plan_version=step.version if changes else None,
            prorate=step.prorate,
            resume_at=until if type_ == "pause" else None,
            end_at=until if type_ == "end_date_change" else None,
            created_at=self.now,
        )

    def _keep_amendments(self, amendments: Sequence[Amendment]) -> None:
        ordered = sorted(amendments, key=lambda one: (one.status == "pending", one.effective_at))
        self._change(amendments=tuple(ordered))

    def _change(self, **changes: object) -> None:
        self.subscription = msgspec.structs.replace(self.subscription, **changes)

    def _apply_due(self) -> None:
        for amendment in self.subscription.amendments:
            if amendment.status == "pending" and amendment.effective_at <= self.now:
                self._apply(amendment)

    def _apply(self, amendment: Amendment) -> None:
        """Dropped where it cannot be; what was billed ahead of it is opened again."""
        self._tried.append(amendment)
        others = [one for one in self.subscription.amendments if one.id != amendment.id]
        try:
            amended(life_of(self.subscription), amendment)
        except CannotApply:
            self._keep_amendments(others)
            return
        self._keep_amendments([*others, msgspec.structs.replace(amendment, status="applied")])
        # An amendment outdates it, as the service says: CALCULATION_OUTDATED.
        self._kept = None
        through, at = self.subscription.billed_through, amendment.effective_at
        if through is not None and through > at:
            start_at = self.plan.start_at
            opened = period_at(start_at, self.plan.cadence, max(at, start_at))
            self._change(billed_through=opened.start)

    def bill(self, asked: datetime, *, bulk: bool = False) -> None:
        """As a request or in bulk; then what was billed so far is one rating of all."""
        self._apply_due()
        rating = self._rate(asked)
        if is_behind(rating.cutoff, self._last_cutoff):
            return
        before = self.subscription.billed_through
        issued = rating.lines if not bulk or moves_money(rating.lines) else ()
        if issued:
            self._issue(rating)
        if issued or bulk:
            self._change(billed_through=rating.billed_through)
            self._changed = []
            self._furthest = max(self._furthest, rating.cutoff)
        if rating.cutoff >= self._furthest:
            self._check(issued, rating.cutoff, before)

    def _bill_calculated(self) -> None:
        self._apply_due()
        kept = self._kept
        if (
            kept is not None
            and kept.lines
            and kept.invoices == self._invoices
            and kept.made_at + KEPT_FOR > self.now
            and kept.cutoff <= self.now + AHEAD_MAX
            and not is_behind(kept.cutoff, self._last_cutoff)
        ):
            self._issue(kept)

    def _issue(self, rating: Rating) -> None:
        made = draft(rating.lines, currency="usd", credit_minor=self._credit_minor)
        self._credit_minor += made.credit_change_minor
        self._collected_minor += made.total_minor
        self.lines += rating.lines
        self._invoices += 1
        self._last_cutoff = rating.cutoff
        self._furthest = max(self._furthest, rating.cutoff)

    def _rate(self, asked: datetime, since: timedelta | None = None) -> Rating:
        life = life_of(self.subscription)
        cadence = self.plan.cadence
        cutoff = effective_cutoff(asked, [(life, cadence)])
        windows = [
            window
            for window in windows_due(
                life,
                cadence,
                billed_through=self.subscription.billed_through,
                cutoff=cutoff,
                billed_to=self._billed_to(),
                changed_days={event.occurred_at.date() for event in self._changed},
            )
            if since is None or (window.whole.end > cutoff - since and window.whole.start < cutoff)
        ]
        return Rating(
            cutoff=cutoff,
            lines=tuple(self._lines_of(life, windows)),
            billed_through=billed_through_after(self.subscription.billed_through, windows),
            invoices=self._invoices,
            made_at=self.now,
        )

    def _lines_of(self, life: Life, windows: Sequence[Window]) -> list[Line]:
        periods = {window.period.start for window in windows}
        billed = {key: one for key, one in self.billed().items() if key.period_start in periods}
        keys: set[ChargeKey] = set()
        lines: list[Line] = []
        for window in windows:
            fees = fees_of(life, window.whole, self._charges)
            keys |= {fee_key(self.subscription.id, window, fee) for fee in fees}
            lines += fee_lines(self.subscription.id, window, fees, billed=billed, currency="usd")
            for due in dues_of(self.subscription.id, life, window, self._charges):
                keys |= {key_of(due, charge) for charge in due.charges}
                lines += usage_lines(
                    due, usage=self._usage(due), billed=billed, currency="usd", watermark=0
                )
        latest = {key_of_line(line): line for line in self.lines}
        return lines + reversals(billed, keys, latest, "usd")

    def _usage(self, due: Due) -> dict[str, Usage]:
        return {charge.metric_key: self._usage_of(due, charge.metric_key) for charge in due.charges}

    def _usage_of(self, due: Due, metric_key: str) -> Usage:
        values = [
            event.value
            for event in self.landed
            if event.metric_key == metric_key
            and due.usage_period.contains(event.occurred_at)
            and not any(pause.contains(event.occurred_at) for pause in due.segment.pauses)
        ]
        with exact():
            quantity = max(values, default=ZERO) if metric_key == PEAK else sum(values, ZERO)
        return Usage(quantity=quantity, event_count=len(values))

    def billed(self) -> dict[ChargeKey, Billed]:
        return billed_by(self.lines)

    def _billed_to(self) -> dict[datetime, datetime]:
        return billed_to(self.lines, self.subscription.billed_through or self.plan.start_at)

    def _check(self, issued: Sequence[Line], cutoff: datetime, before: datetime | None) -> None:
        rated = self._rated(cutoff)
        billed = {
            (key.period_start, key.segment_start, key.charge_id): one.amount_minor
            for key, one in self.billed().items()
        }
        assert _moved(billed) == _moved({key: one.minor for key, one in rated.items()})
        total_minor = sum(one.minor for one in rated.values())
        assert sum(line.amount_minor for line in self.lines) == total_minor
        assert self._collected_minor - self._credit_minor == total_minor
        for line in issued:
            assert line.kind == _kind(line, rated, before)

    def _rated(self, cutoff: datetime) -> dict[Key, Owed]:
        story = Story(
            start_at=self.subscription.start_at,
            end_at=self.subscription.end_at,
            version=self.subscription.plan_version,
            cadence=self.plan.cadence,
            charges=self.plan.charges,
            peaks=frozenset({PEAK}),
        )
        story = taking_effect(story, self._tried)
        applied = [one.id for one in self.subscription.amendments if one.status == "applied"]
        assert [one.id for one in story.amendments] == applied
        return owed(story, self.landed, cutoff)


def _terms(version: int) -> Terms:
    return Terms(plan_id="plan", plan_version=version)


def _moved(amounts: Mapping[Key, int]) -> dict[Key, int]:
    return {key: minor for key, minor in amounts.items() if minor != 0}


def _kind(line: Line, rated: Mapping[Key, Owed], billed_through: datetime | None) -> LineKind:
    """An adjustment of what was invoiced to its end or is owed no longer, else as it is owed."""
    key = key_of_line(line)
    one = rated.get((key.period_start, key.segment_start, key.charge_id))
    assert line.period_end is not None
    closed = billed_through is not None and line.period_end <= billed_through
    return "adjustment" if one is None or closed else one.kind


def _from_now(*hours: int) -> tuple[When, ...]:
    return tuple(When(near="now", offset=number * HOUR) for number in hours)


# Few of each, so that instants meet; drawn whole, for hypothesis takes its time over each draw.
_AT_ONCE = _from_now(0)
_EDGES = tuple(
    When(near="boundary", offset=offset)
    for offset in (timedelta(), -HOUR, -6 * HOUR, HOUR, -timedelta(milliseconds=500))
)
_AHEAD = (*_from_now(0, 1, 6, 24, 30, 72, 240), *_EDGES)
_CUTOFFS = (*_from_now(24, 12, 1, 0, -6), *_EDGES)
_USED_AT = (*_from_now(0, -1, -6, -24, -30, -50, -100, -200, -300, -900, 6, 20, 24), *_EDGES)
_VALUES = tuple(map(Decimal, ("7", "0", "0.3333", "1", "10", "10.5", "25")))
_EVENTS = tuple(product((SUM, SUM, SUM, PEAK), _USED_AT, _VALUES))
_TYPES: tuple[AmendmentType, ...] = (
    *("plan_change",) * 6,
    *("pause",) * 6,
    "resume",
    *("end_date_change",) * 2,
    "cancel",
)
_LASTING = (None, *(number * HOUR for number in (1, 30, 72, 240, 480, 900)))
_AMENDS = tuple(
    Amend(type=type_, effective=effective, version=version, prorate=prorate, lasts=lasts)
    for type_, effective, version, prorate, lasts in product(
        _TYPES, (*_AT_ONCE * 8, *_AHEAD), (1, 2, 3), (False, True), _LASTING
    )
)
_MODES: tuple[Mode, ...] = ("alone", "alone", "bulk", "calculated")
_BILLS = tuple(Bill(cutoff=cutoff, mode=mode) for cutoff, mode in product(_CUTOFFS, _MODES))
_CALCULATIONS = tuple(
    Calculate(cutoff=cutoff, since=since)
    for cutoff, since in product((*_CUTOFFS, *_AHEAD), (DAY, 1_000 * DAY))
)
_lands = st.builds(
    Land, events=st.lists(st.sampled_from(_EVENTS), min_size=2, max_size=5).map(tuple)
)
_steps: st.SearchStrategy[Step] = st.one_of(
    st.sampled_from(_AMENDS),
    st.sampled_from(_AMENDS),
    _lands,
    st.sampled_from(_BILLS),
    st.sampled_from(_BILLS),
    st.sampled_from(_CALCULATIONS),
)

_TIERS = (
    Tier(up_to=Decimal(8), unit_price=Decimal("0.5")),
    Tier(up_to=Decimal(20), unit_price=Decimal("0.0333"), flat_amount=Decimal("1.005")),
    Tier(up_to=None, unit_price=Decimal("0.01"), flat_amount=Decimal("0.25")),
)
_priced: st.SearchStrategy[UsageCharge] = st.sampled_from(
    [
        PerUnit(id="unit", metric_key=SUM, unit_price=Decimal("0.125")),
        PerUnit(id="seat", metric_key=PEAK, unit_price=Decimal("1.50")),
        Tiered(id="graduated", metric_key=SUM, tiers=_TIERS),
        Tiered(
            id="reached",
            metric_key=SUM,
            tiers=(Tier(up_to=None, unit_price=Decimal(1), flat_amount=Decimal(3)),),
        ),
        Volume(id="volume", metric_key=SUM, tiers=_TIERS),
        Package(
            id="package",
            metric_key=SUM,
            package_size=Decimal(10),
            package_price=Decimal("4.44"),
            free_units=Decimal(5),
        ),
    ]
)
_FEES = tuple(
    FlatFee(id="fee", amount=Decimal(amount), billing=billing)
    for amount, billing in product(("49.00", "90.00", "0.01", "10.005"), get_args(Billing))
)


@st.composite
def _version(draw: st.DrawFn, version: int) -> tuple[Charge, ...]:
    """Charges have ids of their own in each version."""
    drawn: list[Charge] = [
        *draw(st.lists(st.sampled_from(_FEES), max_size=2)),
        *draw(st.lists(_priced, min_size=1, max_size=2)),
    ]
    return tuple(
        msgspec.structs.replace(charge, id=f"v{version}_{charge.id}_{place}")
        for place, charge in enumerate(drawn)
    )


plans = st.builds(
    Plan,
    start_at=st.sampled_from(
        [datetime(2026, 1, 31, 6, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC)]
    ),
    lead=st.sampled_from([timedelta(), timedelta(), 30 * HOUR]),
    lasts=st.sampled_from([None, None, 10 * DAY, 35 * DAY + HOUR]),
    cadence=st.sampled_from(
        [CADENCES["daily"], CADENCES["weekly"], CADENCES["monthly"], CADENCES["monthly"]]
    ),
    charges=st.fixed_dictionaries({version: _version(version) for version in (1, 2, 3)}),
    steps=st.lists(st.tuples(st.sampled_from(_AHEAD), _steps), min_size=10, max_size=24).map(tuple),
)


@settings(max_examples=HISTORIES)
@given(plans)
def test_all_lines_are_one_rating_of_the_whole_life(plan: Plan) -> None:
    note(f"{plan.start_at} lasts {plan.lasts} {plan.cadence} {plan.charges}")
    history = History(plan)
    for when, step in plan.steps:
        note(f"{when} {step}")
        history.play(when, step)
    history.now += FAR
    history.bill(history.now)

    revisions = [(key_of_line(line), line.revision) for line in history.lines]
    assert len(set(revisions)) == len(revisions)
    assert [fault for line in history.lines for fault in faults(line, "usd")] == []
    issued = len(history.lines)
    history.bill(history.now)
    assert len(history.lines) == issued
