"""Flat fees: what a billing period owes of them, whole or in parts, as the life in it turns.

A fee is owed in full for a period in which the subscription was active, under the terms that it
began with. An amendment with `prorate: true` gives back the share of what covers the rest of the
period and takes the same share of what comes; without it, the fees of new terms start with the
next period.
Product contract, section 6; docs/amendments.md has the cases that it does not name.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from abaxus_core.domain.charges import Charge, FlatFee, describe
from abaxus_core.domain.invoices import LineKind
from abaxus_core.domain.lives import Life, clip, status_at, terms_at
from abaxus_core.domain.periods import Period
from abaxus_core.domain.pricing import ONE, Step
from abaxus_core.domain.proration import days_in, remaining_days, rest_of
from abaxus_core.domain.subscriptions import Terms

_MEETING: Final = ("stop", "change", "go", "end")


class Fee(msgspec.Struct, frozen=True, kw_only=True):
    """A fee, or the share of it from `start` to the end of the period; given back if `credit`."""

    start: datetime
    terms: Terms
    charge: FlatFee
    part: bool = False
    credit: bool = False


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    kind: Literal["change", "stop", "go", "end"]
    prorate: bool


def fees_of(life: Life, period: Period, charges: Mapping[Terms, Sequence[Charge]]) -> list[Fee]:
    """Return the fees of a whole billing period, in the order in which they come up."""
    ledger = _Ledger(life, charges)
    if status_at(life, period.start) == "active":
        ledger.take(period.start, part=False)
    for turn in _turns(life, period):
        ledger.turn(turn)
    return _without_pairs(ledger.fees)


def _without_pairs(fees: Sequence[Fee]) -> list[Fee]:
    """A share of one fee that is given back and taken at one instant goes on, and is neither."""
    times = Counter((fee.start, fee.charge.id) for fee in fees)
    return [fee for fee in fees if times[fee.start, fee.charge.id] == 1]


class _Ledger:
    """`held`: the fees that cover the rest of the period, by what was taken so far."""

    def __init__(self, life: Life, charges: Mapping[Terms, Sequence[Charge]]) -> None:
        self.fees: list[Fee] = []
        self._life = life
        self._charges = charges
        self._begun = False
        self._held: list[Fee] | None = None

    def turn(self, turn: _Turn) -> None:
        match turn.kind:
            case "change" if self._held is not None and turn.prorate:
                self._give_back(turn.at)
                self.take(turn.at, part=True)
            case "stop" | "end" if turn.prorate:
                self._give_back(turn.at)
            case "go" if not self._begun:
                self.take(turn.at, part=turn.prorate)
            case "go" if self._held is None and turn.prorate:
                self.take(turn.at, part=True)

    def take(self, at: datetime, *, part: bool) -> None:
        terms = terms_at(self._life, at)
        self._begun = True
        self._held = [
            Fee(start=at, terms=terms, charge=charge, part=part)
            for charge in self._charges[terms]
            if isinstance(charge, FlatFee)
        ]
        self.fees += self._held

    def _give_back(self, at: datetime) -> None:
        self.fees += [
            msgspec.structs.replace(fee, start=at, part=True, credit=True)
            for fee in self._held or ()
        ]
        self._held = None


def _turns(life: Life, period: Period) -> list[_Turn]:
    """The turns within the period, in order; where some meet, as _MEETING has them."""
    turns = [_Turn(at=one.start, kind="change", prorate=one.prorate) for one in life.stretches]
    for pause in life.pauses:
        turns.append(_Turn(at=pause.start, kind="stop", prorate=pause.prorate))
        if pause.end is not None:
            turns.append(_Turn(at=pause.end, kind="go", prorate=pause.prorate_resumption))
    lasting = clip(period, life)
    within = [turn for turn in turns if lasting.start < turn.at < lasting.end]
    if lasting != period:
        within.append(_Turn(at=lasting.end, kind="end", prorate=life.prorate_end))
    return sorted(within, key=lambda turn: (turn.at, _MEETING.index(turn.kind)))


def is_due(fee: Fee, lasting: Period, reached: datetime) -> bool:
    """Return whether a fee of a period is owed once usage is billed up to `reached`.

    All are at the end of the period as far as the life lasts, one in advance from its own start.
    """
    if reached >= lasting.end:
        return True
    return fee.charge.billing == "in_advance" and reached > fee.start


def step_of(fee: Fee, period: Period) -> Step:
    """Return what a fee of a whole billing period comes from."""
    amount = fee.charge.amount
    step = rest_of(amount, period, fee.start) if fee.part else Step(quantity=ONE, unit_price=amount)
    return msgspec.structs.replace(step, quantity=-ONE) if fee.credit else step


def kind_of(fee: Fee) -> LineKind:
    """Return what a fee's line is called."""
    if fee.credit:
        return "proration_credit"
    return "proration_charge" if fee.part else "flat_fee"


def describe_fee(fee: Fee, period: Period) -> str:
    """Return what a fee's line says, with the days that a share of it is for."""
    if not fee.part:
        return describe(fee.charge)
    word = "credit for" if fee.credit else "for"
    days = f"{remaining_days(period, fee.start)} of {days_in(period)} days"
    return f"{describe(fee.charge)}, {word} {days}"
