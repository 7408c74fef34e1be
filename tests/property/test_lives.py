"""Whatever becomes of a subscription, all lines ever issued add up to one rating of its life.

What that comes to is life_oracle.py's, which knows nothing of how the product does it.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count

import msgspec
from hypothesis import given, note, settings

from abaxus_core.domain.amendments import Amendment, AmendmentType
from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.explanations import faults
from abaxus_core.domain.fees import fees_of
from abaxus_core.domain.instants import AHEAD_MAX
from abaxus_core.domain.invoices import Line, LineKind, draft
from abaxus_core.domain.lives import CannotApply, Life, amended, life_of, status_at
from abaxus_core.domain.periods import period_at
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
from tests.property.life_oracle import (
    COUNTS,
    Event,
    Key,
    Owed,
    Story,
    boundary,
    moved,
    owed,
    taking_effect,
)
from tests.property.lives import PEAK, SUM, Amend, Bill, Calculate, Land, Plan, Step, When, plans

HISTORIES = int(os.environ.get("ABAXUS_TEST_HISTORIES", "2000"))

KEPT_FOR = timedelta(hours=24)
FAR = timedelta(days=40)


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
        assert moved(billed) == moved({key: one.minor for key, one in rated.items()})
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
            counts={SUM: COUNTS["sum"], PEAK: COUNTS["max"]},
        )
        story = taking_effect(story, self._tried)
        applied = [one.id for one in self.subscription.amendments if one.status == "applied"]
        assert [one.id for one in story.amendments] == applied
        return owed(story, self.landed, cutoff)


def _terms(version: int) -> Terms:
    return Terms(plan_id="plan", plan_version=version)


def _kind(line: Line, rated: Mapping[Key, Owed], billed_through: datetime | None) -> LineKind:
    """An adjustment of what was invoiced to its end or is owed no longer, else as it is owed."""
    key = key_of_line(line)
    one = rated.get((key.period_start, key.segment_start, key.charge_id))
    assert line.period_end is not None
    closed = billed_through is not None and line.period_end <= billed_through
    return "adjustment" if one is None or closed else one.kind


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
