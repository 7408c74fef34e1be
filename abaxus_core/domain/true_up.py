"""The true-up principle: per subscription, billing period, segment and charge, `owed − billed`.

First `windows_due` says which billing periods an invoice has to look at and up to when; the caller
aggregates usage over the windows of their segments; then `lines_of` gives the lines. Interim
invoices, late events and retries need no case of their own. Product contract, section 6.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.instants import day_end, day_start
from abaxus_core.domain.invoices import Line, LineKind
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.periods import Cadence, Period, snap
from abaxus_core.domain.pricing import Charge, FlatFee, Rated, describe, model_of, rate
from abaxus_core.domain.subscriptions import Segment, Subscription, billing_periods, segments

ONE = Decimal(1)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A billing period and the exclusive end up to which it is billed now.

    `invoiced`: the period had been invoiced to its end before, so what is new is an adjustment.
    """

    period: Period
    end: datetime
    invoiced: bool


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a window, with the charges of its plan version."""

    subscription_id: str
    window: Window
    segment: Segment
    charges: tuple[Charge, ...]

    @property
    def usage_period(self) -> Period:
        """The half-open stretch whose events count; empty when the window ends before it."""
        end = max(self.segment.start, min(self.segment.end, self.window.end))
        return Period(start=self.segment.start, end=end)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A metric aggregated over a segment's usage period, and the proof of what was counted."""

    quantity: Decimal = ZERO
    event_count: int = 0
    digest: int = 0


class ChargeKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is billed once: a charge within a segment of a billing period of a subscription."""

    subscription_id: str
    period_start: datetime
    segment_start: datetime
    charge_id: str


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """What earlier invoices hold for one ChargeKey: sums over its lines, and how many there are.

    `watermark`: the highest that one of them was rated at.
    """

    amount_minor: int = 0
    exact_amount: Decimal = ZERO
    revisions: int = 0
    watermark: int = 0


NO_USAGE = Usage()
NEVER_BILLED = Billed()


def windows_due(
    subscription: Subscription,
    cadence: Cadence,
    *,
    cutoff: datetime,
    billed_to: Mapping[datetime, datetime],
    changed_days: Collection[date],
) -> list[Window]:
    """Return the billing periods that an invoice at `cutoff` has to look at, in order.

    These are the ones not yet invoiced to their end that start before the cutoff, and of the
    others those that a changed day touches. `billed_to` maps the start of an open period to the
    latest window end of its lines: a window never shrinks, or usage would be given back.
    `changed_days` are UTC days with events landed after the subscription's rated watermark.
    """
    open_from = subscription.billed_through or subscription.start_at
    late = [day for day in changed_days if day_start(day) < open_from]
    closed = [
        Window(period=period, end=period.end, invoiced=True)
        for period in _closed_periods(subscription, cadence, late)
    ]
    return closed + [
        Window(period=period, end=_window_end(period, cutoff, billed_to), invoiced=False)
        for period in billing_periods(subscription, cadence, open_from, _reach(cutoff, billed_to))
    ]


def _closed_periods(
    subscription: Subscription, cadence: Cadence, late: Sequence[date]
) -> list[Period]:
    """Return the invoiced periods that a late day touches, in order.

    Day by day: two that lie far apart do not ask for all the periods between them.
    """
    if subscription.billed_through is None:
        return []
    found: dict[datetime, Period] = {}
    for day in sorted(late):
        end = min(day_end(day), subscription.billed_through)
        for period in billing_periods(subscription, cadence, day_start(day), end):
            found[period.start] = period
    return list(found.values())


def _reach(cutoff: datetime, billed_to: Mapping[datetime, datetime]) -> datetime:
    return max([cutoff, *billed_to.values()])


def _window_end(
    period: Period, cutoff: datetime, billed_to: Mapping[datetime, datetime]
) -> datetime:
    reached = max(snap(cutoff, period.end), billed_to.get(period.start, period.start))
    return min(reached, period.end)


def billed_through(subscription: Subscription, windows: Sequence[Window]) -> datetime | None:
    """Return the subscription's new marker once the windows are invoiced: it never goes back."""
    ends = [window.end for window in windows if window.end == window.period.end]
    if subscription.billed_through is not None:
        ends.append(subscription.billed_through)
    return max(ends, default=None)


def dues_of(
    subscription: Subscription, window: Window, charges: Mapping[int, Sequence[Charge]]
) -> list[Due]:
    """Return a window's segments, each with its charges. `charges` by plan version."""
    return [
        Due(
            subscription_id=subscription.id,
            window=window,
            segment=segment,
            charges=tuple(charges[segment.terms.plan_version]),
        )
        for segment in segments(subscription, window.period)
    ]


def key_of(due: Due, charge: Charge) -> ChargeKey:
    """Return what the charge is billed under in this segment."""
    return ChargeKey(
        subscription_id=due.subscription_id,
        period_start=due.window.period.start,
        segment_start=due.segment.start,
        charge_id=charge.id,
    )


def lines_of(
    due: Due,
    *,
    usage: Mapping[str, Usage],
    billed: Mapping[ChargeKey, Billed],
    currency: str,
    watermark: int,
) -> list[Line]:
    """Return the lines of a segment: `owed − billed` for each charge for which something is new.

    `usage` by metric over the due's usage period; `billed` by key. A charge's first line is kept
    at amount 0 when there was usage, so that included usage shows; a later one only if it differs.
    """
    lines = []
    for charge in due.charges:
        counted = usage.get(charge.metric_key, NO_USAGE) if charge.metric_key else NO_USAGE
        before = billed.get(key_of(due, charge), NEVER_BILLED)
        line = _line(due, charge, counted, before, currency)
        first_with_usage = before.revisions == 0 and counted.event_count > 0
        if line.amount_minor != 0 or first_with_usage:
            lines.append(_with_proof(line, counted, watermark))
    return lines


def _line(due: Due, charge: Charge, counted: Usage, before: Billed, currency: str) -> Line:
    rated = owed(due, charge, counted.quantity)
    owed_minor = to_minor(rated.exact_amount, currency)
    with exact():
        exact_amount = rated.exact_amount - before.exact_amount
    return Line(
        kind=_kind(due, charge),
        description=describe(charge),
        exact_amount=exact_amount,
        amount_minor=owed_minor - before.amount_minor,
        charge_id=charge.id,
        pricing_model=model_of(charge),
        metric_key=charge.metric_key,
        subscription_id=due.subscription_id,
        plan_id=due.segment.terms.plan_id,
        plan_version=due.segment.terms.plan_version,
        period_start=due.window.period.start,
        period_end=due.window.period.end,
        segment_start=due.segment.start,
        segment_end=due.segment.end,
        window_end=due.window.end,
        revision=before.revisions + 1,
        quantity=ONE if isinstance(charge, FlatFee) else counted.quantity,
        owed_minor=owed_minor,
        previously_billed_minor=before.amount_minor,
        tier_breakdown=rated.breakdown,
    )


def _with_proof(line: Line, counted: Usage, watermark: int) -> Line:
    if line.metric_key is None:
        return line
    return msgspec.structs.replace(
        line, event_count=counted.event_count, digest=counted.digest, watermark=watermark
    )


def _kind(due: Due, charge: Charge) -> LineKind:
    if due.window.invoiced:
        return "adjustment"
    return "flat_fee" if isinstance(charge, FlatFee) else "usage"


def owed(due: Due, charge: Charge, quantity: Decimal) -> Rated:
    """Return what a charge owes for a segment so far: usage by its quantity, a fee once it is due.

    A fee in arrears is due at the period's end, one in advance once the window passes its start.
    """
    if not isinstance(charge, FlatFee):
        return rate(charge, quantity)
    period = due.window.period
    if charge.billing == "in_advance":
        reached = due.window.end > period.start
    else:
        reached = due.window.end >= period.end
    return rate(charge, quantity) if reached else Rated(exact_amount=ZERO)
