"""A raw part to which events go on being added: what of it is settled, and what proves it current.

A stamp is the count and digest of all events of the days that a raw part lies in: sums over events,
which are only ever added. So where those of what was settled and of what came since add up to the
stamp, nothing came but that, and the two values together are the part's. Where they do not add up
(an event came late, or too many came), the part has to be read anew. Reading is the services'.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Final

import msgspec

from abaxus_core.domain.aggregation import ADDITIVE, Aggregation
from abaxus_core.domain.periods import Period
from abaxus_core.domain.usage_parts import together

# Who sends few events may send them late. Of a crowd of events only the newest stay unsettled.
SETTLED_AFTER: Final = (
    timedelta(hours=1),
    timedelta(minutes=10),
    timedelta(minutes=1),
    timedelta(seconds=10),
    timedelta(seconds=1),
)
UNSETTLED_MAX: Final = 64


class RawPart(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What of a measure is counted from raw events, and the whole UTC days that it lies in."""

    aggregation: Aggregation
    period: Period
    days: Period


class Tally(msgspec.Struct, frozen=True, gc=False):
    """What some events come to; `value` is None where there are none."""

    value: Decimal | None
    event_count: int
    digest: int


class Settled(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What lies in a raw part before `since`.

    `before` has its value, and the count and digest of all events of the part's days but those that
    lie in the part from `since` on.
    """

    since: datetime
    before: Tally


class Reading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A raw part's value while its days have this stamp; None without events.

    `settled` is None where the value does not follow from those of parts.
    """

    stamp: str
    value: Decimal | None
    settled: Settled | None


def stretches(part: RawPart, now: datetime, settled: Settled | None) -> list[Period]:
    """Return in which parts to read what of a raw part is not settled; it may be where they meet.

    >>> from datetime import UTC
    >>> first = Period(start=datetime(2026, 4, 1, tzinfo=UTC), end=datetime(2026, 4, 2, tzinfo=UTC))
    >>> period = Period(start=datetime(2026, 4, 1, 6, tzinfo=UTC), end=first.end)
    >>> part = RawPart(aggregation="sum", period=period, days=first)
    >>> found = stretches(part, datetime(2026, 4, 1, 6, 5, tzinfo=UTC), None)
    >>> [f"{each.start:%H:%M:%S}" for each in found]
    ['06:00:00', '06:04:00', '06:04:50', '06:04:59']
    """
    if part.aggregation not in ADDITIVE:
        return [part.period]
    start, end = part.period.start if settled is None else settled.since, part.period.end
    marks = [mark for mark in (now - age for age in SETTLED_AFTER) if start < mark < end]
    boundaries = [start, *marks, end]
    return [Period(start=one, end=other) for one, other in pairwise(boundaries) if one < other]


def reading(
    part: RawPart, days: Tally, read: Sequence[tuple[Period, Tally]], settled: Settled | None
) -> Reading | None:
    """Return what a raw part's days and stretches, all of one instant, come to.

    None where events have come that are neither in the stretches nor settled.
    """
    stamp = stamp_of(days)
    tallies = [tally for _, tally in read]
    if part.aggregation not in ADDITIVE:
        (whole,) = tallies
        return Reading(stamp=stamp, value=whole.value, settled=None)
    if settled is not None and stamp_of(settled.before, *tallies) != stamp:
        return None
    place = _first_unsettled([tally.event_count for tally in tallies])
    recent = tallies[place:]
    known = () if settled is None else (settled.before,)
    before = Tally(
        _joined(part.aggregation, (*known, *tallies[:place])),
        days.event_count - sum(tally.event_count for tally in recent),
        days.digest - sum(tally.digest for tally in recent),
    )
    return Reading(
        stamp=stamp,
        value=_joined(part.aggregation, (before, *recent)),
        settled=Settled(since=read[place][0].start if recent else part.period.end, before=before),
    )


def caught_up(part: RawPart, settled: Settled, recent: Tally, stamp: str) -> Reading | None:
    """Return a raw part's reading when its days had `stamp`, from what it has since it was settled.

    `recent` may be of another instant, and need not be complete: None where it does not add up.
    """
    if stamp_of(settled.before, recent) != stamp:
        return None
    value = _joined(part.aggregation, (settled.before, recent))
    return Reading(stamp=stamp, value=value, settled=settled)


def stamp_of(*tallies: Tally) -> str:
    """Return the stamp of days with all these events, as the look of entitlements writes it.

    >>> stamp_of(Tally(None, 2, 70), Tally(None, 1, -7))
    '3:63'
    """
    event_count = sum(tally.event_count for tally in tallies)
    return f"{event_count}:{sum(tally.digest for tally in tallies)}"


def _first_unsettled(event_counts: Sequence[int]) -> int:
    """From which place on there are few enough events; the last one if it alone has more."""
    from_the_end = accumulate(reversed(event_counts))
    few = sum(event_count <= UNSETTLED_MAX for event_count in from_the_end)
    return max(0, len(event_counts) - max(few, 1))


def _joined(aggregation: Aggregation, tallies: Sequence[Tally]) -> Decimal | None:
    """The value of what follows each other in time."""
    values = [tally.value for tally in tallies]
    if all(value is None for value in values):
        return None
    return together(aggregation, values)
