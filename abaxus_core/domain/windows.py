"""Windows: which billing periods an invoice has to look at, and up to when it bills each.

What is owed in them is true_up.py's. Product contract, section 6.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime

import msgspec

from abaxus_core.domain.instants import day_end, day_start
from abaxus_core.domain.lives import Life, billing_periods
from abaxus_core.domain.periods import Cadence, Period, period_at, snap


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A billing period as far as the life lasts, and the exclusive end up to which it is billed.

    `whole`: the period as the calendar has it. `invoiced`: it had been invoiced to its end before,
    so what is new is an adjustment.
    """

    period: Period
    whole: Period
    end: datetime
    invoiced: bool


def windows_due(
    life: Life,
    cadence: Cadence,
    *,
    billed_through: datetime | None,
    cutoff: datetime,
    billed_to: Mapping[datetime, datetime],
    changed_days: Collection[date],
) -> list[Window]:
    """Return the billing periods that an invoice at `cutoff` has to look at, in order.

    These are the ones not yet invoiced to their end that start before the cutoff, and of the
    others those that a changed day touches. `billed_to` maps the start of an open period to the
    latest window end of its lines: a window never shrinks, or usage would be given back. A period
    that was billed and that an amendment took out of the life is empty. `changed_days` are UTC
    days with events landed after the subscription's rated watermark.
    """
    open_from = billed_through or life.start_at
    late = [day for day in changed_days if day_start(day) < open_from]
    reach = max([cutoff, *billed_to.values()])
    still_open = billing_periods(life, cadence, open_from, reach)
    return [
        *_windows(life, cadence, _closed_periods(life, cadence, billed_through, late)),
        *(
            msgspec.structs.replace(
                window, end=_window_end(window.period, cutoff, billed_to), invoiced=False
            )
            for window in _windows(life, cadence, still_open)
        ),
        *_gone(life, cadence, still_open, billed_to),
    ]


def _windows(life: Life, cadence: Cadence, periods: Sequence[Period]) -> list[Window]:
    return [
        Window(
            period=period,
            whole=period_at(life.start_at, cadence, period.start),
            end=period.end,
            invoiced=True,
        )
        for period in periods
    ]


def _closed_periods(
    life: Life, cadence: Cadence, billed_through: datetime | None, late: Sequence[date]
) -> list[Period]:
    """Return the invoiced periods that a late day touches, in order.

    Day by day: two that lie far apart do not ask for all the periods between them.
    """
    if billed_through is None:
        return []
    found: dict[datetime, Period] = {}
    for day in sorted(late):
        end = min(day_end(day), billed_through)
        for period in billing_periods(life, cadence, day_start(day), end):
            if period.end <= billed_through:
                found[period.start] = period
    return list(found.values())


def _window_end(
    period: Period, cutoff: datetime, billed_to: Mapping[datetime, datetime]
) -> datetime:
    reached = max(snap(cutoff, period.end), billed_to.get(period.start, period.start))
    return min(reached, period.end)


def _gone(
    life: Life,
    cadence: Cadence,
    still_open: Sequence[Period],
    billed_to: Mapping[datetime, datetime],
) -> list[Window]:
    known = {period.start for period in still_open}
    return [
        Window(
            period=Period(start=start, end=start),
            whole=period_at(life.start_at, cadence, start),
            end=end,
            invoiced=False,
        )
        for start, end in sorted(billed_to.items())
        if start not in known
    ]


def billed_through_after(before: datetime | None, windows: Sequence[Window]) -> datetime | None:
    """Return how far a subscription is invoiced once the windows are: it never goes back."""
    ends = [window.end for window in windows if window.end == window.period.end]
    if before is not None:
        ends.append(before)
    return max(ends, default=None)
