"""What a subscription owes after all that was asked of it, by brute force: one rating of its life.

Written from the product contract, sections 6 and 7, and docs/amendments.md. Of the product it knows
the shapes of amendments and charges and none of the code for lives, fees, windows or prices: it
replays the amendments for the state at an instant, cuts time wherever anything turns, looks at the
events one by one and counts in fractions. Amounts are in cents.
"""

from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count, pairwise
from math import ceil, floor
from typing import TypeAlias

import msgspec

from abaxus_core.domain.aggregation import Aggregation
from abaxus_core.domain.amendments import Amendment
from abaxus_core.domain.charges import (
    Charge,
    FlatFee,
    Package,
    PerUnit,
    Tier,
    Tiered,
    UsageCharge,
    Volume,
)
from abaxus_core.domain.invoices import LineKind
from abaxus_core.domain.periods import Cadence

ONE_DAY = timedelta(days=1)
ONE_SECOND = timedelta(seconds=1)
# Of the metric whose aggregation is percentile.
PERCENTILE = 75

# Start of the period, start of the segment or share, id of the charge.
Key: TypeAlias = tuple[datetime, datetime, str]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`user`: what a unique count counts. Events come in the order of arrival."""

    metric_key: str
    occurred_at: datetime
    value: Decimal
    user: str | None = None


Count: TypeAlias = Callable[[Sequence[Event]], Fraction]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as it was made, and the amendments that took effect, in that order.

    `charges` by plan version; `counts` says by metric what its events come to.
    """

    start_at: datetime
    end_at: datetime | None
    version: int
    cadence: Cadence
    charges: Mapping[int, Sequence[Charge]]
    counts: Mapping[str, Count]
    amendments: tuple[Amendment, ...] = ()


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed under a key, and what its first line is called."""

    kind: LineKind
    minor: int


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """As it is after some amendments. The flags say whether the last change, stop, go and end of
    the subscription prorate."""

    version: int
    end_at: datetime | None
    paused: bool = False
    resume_at: datetime | None = None
    change: bool = False
    stop: bool = False
    go: bool = False
    end: bool = False


class _Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A half-open stretch of time in which nothing turns."""

    start: datetime
    end: datetime
    state: _State


class _Period(msgspec.Struct, frozen=True, kw_only=True):
    """`end` as the calendar has it, `last` as far as the life goes, `reached` what is billed of it.

    `stretches` cover it as far as the life goes.
    """

    start: datetime
    end: datetime
    last: datetime
    reached: datetime
    stretches: Sequence[_Stretch]


def boundary(start_at: datetime, cadence: Cadence, number: int) -> datetime:
    """Return the start of a billing period, counted from 0."""
    steps = cadence.count * number
    match cadence.interval:
        case "day":
            return start_at + steps * ONE_DAY
        case "week":
            return start_at + 7 * steps * ONE_DAY
        case "month":
            return _months_after(start_at, steps)
        case "year":
            return _months_after(start_at, 12 * steps)


def _months_after(instant: datetime, months: int) -> datetime:
    year, month = divmod(instant.year * 12 + instant.month - 1 + months, 12)
    day = min(instant.day, monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def taking_effect(story: Story, asked: Iterable[Amendment]) -> Story:
    """Return the story with those of the amendments, in order of effect, that can be applied."""
    for amendment in asked:
        if _makes_sense(story, amendment):
            story = msgspec.structs.replace(story, amendments=(*story.amendments, amendment))
    return story


def _makes_sense(story: Story, amendment: Amendment) -> bool:
    at = amendment.effective_at
    state = _state_at(story, at)
    if state.end_at is not None and state.end_at <= at:
        return False
    match amendment.type:
        case "plan_change":
            return amendment.plan_version != state.version
        case "pause":
            return story.start_at <= at and not state.paused
        case "resume":
            return state.paused
        case "cancel" | "end_date_change":
            return True


def _state_at(story: Story, instant: datetime) -> _State:
    """Replay what took effect by an instant."""
    state = _State(version=story.version, end_at=story.end_at)
    for amendment in story.amendments:
        if amendment.effective_at <= instant:
            state = _after(_resumed_by(state, amendment.effective_at), amendment)
    return _resumed_by(state, instant)


def _resumed_by(state: _State, instant: datetime) -> _State:
    if state.paused and state.resume_at is not None and state.resume_at <= instant:
        return msgspec.structs.replace(state, paused=False)
    return state


def _after(state: _State, amendment: Amendment) -> _State:
    prorate = amendment.prorate
    match amendment.type:
        case "plan_change":
            assert amendment.plan_version is not None
            changes: dict[str, object] = {"version": amendment.plan_version, "change": prorate}
        case "pause":
            changes = {
                "paused": True,
                "resume_at": amendment.resume_at,
                "stop": prorate,
                "go": prorate,
            }
        case "resume":
            changes = {"paused": False, "go": prorate}
        case "cancel":
            changes = {"end_at": amendment.effective_at, "end": prorate}
        case "end_date_change":
            changes = {"end_at": amendment.end_at, "end": prorate}
    return msgspec.structs.replace(state, **changes)


def owed(story: Story, events: Sequence[Event], cutoff: datetime) -> dict[Key, Owed]:
    """Return what everything together owes once it is billed up to a cutoff."""
    found: dict[Key, Owed] = {}
    for period in _periods(story, cutoff):
        found |= _fees(story, period)
        found |= _usage(story, period, events)
    return found


def moved(amounts: Mapping[Key, int]) -> dict[Key, int]:
    """Return those that are not nothing."""
    return {key: minor for key, minor in amounts.items() if minor != 0}


def _periods(story: Story, cutoff: datetime) -> Iterator[_Period]:
    ends = _final(story).end_at
    until = cutoff if ends is None else min(cutoff, ends)
    edges = (boundary(story.start_at, story.cadence, number) for number in count())
    # One more than start before the end of all, to snap to its end.
    for start, end in pairwise(edges):
        if start >= until:
            return
        last = end if ends is None else min(end, ends)
        reached = last if last - ONE_SECOND <= cutoff else cutoff
        yield _Period(
            start=start, end=end, last=last, reached=reached, stretches=_cut(story, start, last)
        )


def _final(story: Story) -> _State:
    return _state_at(story, datetime.max.replace(tzinfo=story.start_at.tzinfo))


def _cut(story: Story, start: datetime, end: datetime) -> list[_Stretch]:
    turns = {one.effective_at for one in story.amendments}
    turns |= {one.resume_at for one in story.amendments if one.resume_at is not None}
    cuts = [start, *sorted(turn for turn in turns if start < turn < end), end]
    return [
        _Stretch(start=one, end=next_, state=_state_at(story, one)) for one, next_ in pairwise(cuts)
    ]


def _usage(story: Story, period: _Period, events: Sequence[Event]) -> dict[Key, Owed]:
    found: dict[Key, Owed] = {}
    for segment in _segments(period):
        start, version = segment[0].start, segment[0].state.version
        active = [stretch for stretch in segment if not stretch.state.paused]
        if not active or start >= period.reached:
            continue
        for charge in story.charges[version]:
            if not isinstance(charge, FlatFee):
                counted = [
                    event
                    for event in events
                    if event.metric_key == charge.metric_key
                    and event.occurred_at < period.reached
                    and any(one.start <= event.occurred_at < one.end for one in active)
                ]
                quantity = story.counts[charge.metric_key](counted) if counted else Fraction()
                minor = _cents(_price(charge, quantity))
                found[period.start, start, charge.id] = Owed(kind="usage", minor=minor)
    return found


def _segments(period: _Period) -> list[list[_Stretch]]:
    """Neighbours of one version together: a pause splits nothing."""
    found: list[list[_Stretch]] = []
    for stretch in period.stretches:
        if found and found[-1][-1].state.version == stretch.state.version:
            found[-1].append(stretch)
        else:
            found.append([stretch])
    return found


def _latest(events: Sequence[Event]) -> Fraction:
    """Of one instant, the last to arrive."""
    newest = max(event.occurred_at for event in events)
    return Fraction([event.value for event in events if event.occurred_at == newest][-1])


def _percentile(events: Sequence[Event]) -> Fraction:
    """Between two neighbours as far as the rank lies between theirs."""
    ordered = sorted(Fraction(event.value) for event in events)
    rank = Fraction(PERCENTILE, 100) * (len(ordered) - 1)
    below, above = ordered[floor(rank)], ordered[ceil(rank)]
    return below + (above - below) * (rank - floor(rank))


COUNTS: Mapping[Aggregation, Count] = {
    "sum": lambda events: sum((Fraction(event.value) for event in events), Fraction()),
    "count": lambda events: Fraction(len(events)),
    "max": lambda events: max(Fraction(event.value) for event in events),
    "min": lambda events: min(Fraction(event.value) for event in events),
    "last": _latest,
    "unique_count": lambda events: Fraction(len({event.user for event in events})),
    "percentile": _percentile,
}


def _price(charge: UsageCharge, quantity: Fraction) -> Fraction:
    quantity = max(quantity, Fraction())
    match charge:
        case PerUnit():
            return quantity * Fraction(charge.unit_price)
        case Tiered():
            return _graduated(charge.tiers, quantity)
        case Volume():
            return _in_one_tier(charge.tiers, quantity)
        case Package():
            packed = quantity - Fraction(charge.free_units or 0)
            packages = ceil(max(packed, Fraction()) / Fraction(charge.package_size))
            return packages * Fraction(charge.package_price)


def _graduated(tiers: Sequence[Tier], quantity: Fraction) -> Fraction:
    total, lower = Fraction(), Fraction()
    for tier in tiers:
        if lower == 0 or quantity > lower:
            upper = quantity if tier.up_to is None else min(quantity, Fraction(tier.up_to))
            total += (upper - lower) * Fraction(tier.unit_price) + Fraction(tier.flat_amount or 0)
            lower = upper if tier.up_to is None else Fraction(tier.up_to)
    return total


def _in_one_tier(tiers: Sequence[Tier], quantity: Fraction) -> Fraction:
    tier = next(one for one in tiers if one.up_to is None or quantity <= Fraction(one.up_to))
    return quantity * Fraction(tier.unit_price) + Fraction(tier.flat_amount or 0)


def _cents(amount: Fraction) -> int:
    whole = floor(abs(amount) * 100 + Fraction(1, 2))
    return whole if amount >= 0 else -whole


def _fees(story: Story, period: _Period) -> dict[Key, Owed]:
    book = _FeeBook(story, period)
    book.begin(period.stretches[0])
    for before, stretch in pairwise(period.stretches):
        book.turn(before.state, stretch)
    if period.last < period.end and _final(story).end:
        book.give_back(period.last)
    return book.owed


class _FeeBook:
    """`_held`: the fees that cover the rest of the period, None where nothing does, or ever did."""

    def __init__(self, story: Story, period: _Period) -> None:
        self.owed: dict[Key, Owed] = {}
        self._story = story
        self._period = period
        self._held: Sequence[FlatFee] | None = None
        self._begun = False

    def begin(self, first: _Stretch) -> None:
        if not first.state.paused:
            self._take(first, part=False)

    def turn(self, before: _State, stretch: _Stretch) -> None:
        """Where turns meet: stopped first, then changed, then resumed."""
        state = stretch.state
        if state.paused and not before.paused and state.stop:
            self.give_back(stretch.start)
        if state.version != before.version and state.change and self._held is not None:
            self.give_back(stretch.start)
            self._take(stretch, part=True)
        if before.paused and not state.paused:
            self._resume(stretch)

    def _resume(self, stretch: _Stretch) -> None:
        if not self._begun:
            self._take(stretch, part=stretch.state.go)
        elif self._held is None and stretch.state.go:
            self._take(stretch, part=True)

    def _take(self, stretch: _Stretch, *, part: bool) -> None:
        self._begun = True
        charges = self._story.charges[stretch.state.version]
        self._held = [charge for charge in charges if isinstance(charge, FlatFee)]
        for fee in self._held:
            share = self._share(stretch.start) if part else Fraction(1)
            kind: LineKind = "proration_charge" if part else "flat_fee"
            self._owe(fee, stretch.start, kind, share)

    def give_back(self, at: datetime) -> None:
        for fee in self._held or ():
            self._owe(fee, at, "proration_credit", -self._share(at))
        self._held = None

    def _owe(self, fee: FlatFee, at: datetime, kind: LineKind, share: Fraction) -> None:
        """One in arrears with the end of the period, in advance from the instant that it is for."""
        reached = self._period.reached
        in_time = fee.billing == "in_advance" and at < reached
        if in_time or reached == self._period.last:
            key = self._period.start, at, fee.id
            minor = _cents(Fraction(fee.amount) * share)
            if key in self.owed:
                # Given back and taken at one instant: it went on.
                assert self.owed.pop(key).minor == -minor
            else:
                self.owed[key] = Owed(kind=kind, minor=minor)

    def _share(self, at: datetime) -> Fraction:
        period = self._period
        return Fraction(_days(at, period.end), _days(period.start, period.end))


def _days(start: datetime, end: datetime) -> int:
    """A started one counts whole."""
    return -((start - end) // ONE_DAY)
