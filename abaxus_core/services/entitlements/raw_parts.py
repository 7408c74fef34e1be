"""Usage whose parts are not all whole days: raw parts are read once and kept with their stamp.

A stamp tells the state of the days that a part lies in, and the statement that brings the usage of
the whole days brings it along: while it is the same, what is kept is exact. Where it is another,
what is settled and what came since prove as a rule to be all there is; else the slow lane reads.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from abaxus_core.domain.decimals import ZERO
from abaxus_core.domain.entitlement_documents import Measure
from abaxus_core.domain.instants import day_start
from abaxus_core.domain.periods import Period
from abaxus_core.domain.settled_usage import (
    RawPart,
    Reading,
    Settled,
    Tally,
    caught_up,
    reading,
    stretches,
)
from abaxus_core.domain.usage_parts import together
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.kernel.kept import Kept
from abaxus_core.repositories import rollups
from abaxus_core.repositories.entitlement_documents import Seen
from abaxus_core.repositories.events import Aggregate
from abaxus_core.services.entitlements.exact import window_of
from abaxus_core.services.entitlements.recent_events import RecentEvents
from abaxus_core.services.entitlements.slow_lane import SlowLane

# Of 0.8 KB each. A customer has one for each limit whose period begins within a day; a process that
# is asked for more than are kept pays a slow reading for many of its checks.
PARTS_KEPT_MAX: Final = 40_000

Side: TypeAlias = Literal["head", "tail"]


class RawParts:
    """One mode's."""

    def __init__(self, database: Database, slow_lane: SlowLane, clock: Clock) -> None:
        self._clock = clock
        self._slow_lane = slow_lane
        self._recent_events = RecentEvents(database)
        self._kept: Kept[tuple[Measure, Side], Reading] = Kept(PARTS_KEPT_MAX)

    def used(self, measure: Measure, seen: Seen) -> Decimal | None:
        """What was used when `seen` was; None where a part has to be read first."""
        if seen.head is None and seen.tail is None:
            return ZERO if seen.value is None else seen.value
        parts: dict[str, Decimal | None] = {"head": None, "days": seen.value, "tail": None}
        for side, stamp in _stamps(measure, seen):
            kept = self._kept.get((measure, side))
            if kept is None or kept.stamp != stamp:
                return None
            parts[side] = kept.value
        return together(measure.metering.aggregation, tuple(parts.values()))

    async def read(self, measure: Measure, seen: Seen) -> None:
        """Read the raw parts that are not kept as they were when `seen` was.

        What the slow lane reads may be of another instant: whether it is `used` tells.
        """
        for side, stamp in _stamps(measure, seen):
            kept = self._kept.get((measure, side))
            if kept is not None and kept.stamp == stamp:
                continue
            settled = None if kept is None else kept.settled
            if settled is None or not await self._catch_up(measure, side, settled, stamp):
                await self._slow_lane.share(
                    "raw_part",
                    (measure, side),
                    partial(self._read, measure, side, settled),
                    isolation="repeatable_read",
                )

    async def _catch_up(self, measure: Measure, side: Side, settled: Settled, stamp: str) -> bool:
        """Keep what is settled with what came since; False where that is not all."""
        part = _raw_part(measure, side)
        if settled.since >= part.period.end:
            return False
        since = Period(start=settled.since, end=part.period.end)
        found = await self._recent_events.aggregate(window_of(measure, since))
        caught = None if found is None else caught_up(part, settled, _tally(found), stamp)
        if caught is not None:
            self._kept.put((measure, side), caught)
        return caught is not None

    async def _read(
        self, measure: Measure, side: Side, settled: Settled | None, conn: Connection
    ) -> None:
        """Read on from what is settled, or all anew where that is not all there was before."""
        found = None if settled is None else await self._reading(conn, measure, side, settled)
        if found is None:
            found = await self._reading(conn, measure, side, None)
        assert found is not None, "all of the part is read"
        self._kept.put((measure, side), found)

    async def _reading(
        self, conn: Connection, measure: Measure, side: Side, settled: Settled | None
    ) -> Reading | None:
        part = _raw_part(measure, side)
        read = stretches(part, self._clock(), settled)
        days = replace(window_of(measure, part.days), aggregation="count")
        windows = [days, *(window_of(measure, each) for each in read)]
        whole, *tallies = map(_tally, await rollups.aggregate(conn, windows))
        return reading(part, whole, list(zip(read, tallies, strict=True)), settled)


def _stamps(measure: Measure, seen: Seen) -> Iterator[tuple[Side, str]]:
    """The raw parts that lie in days with events."""
    if measure.cut.head is not None and seen.head is not None:
        yield "head", seen.head
    if measure.cut.tail is not None and seen.tail is not None:
        yield "tail", seen.tail


def _raw_part(measure: Measure, side: Side) -> RawPart:
    cut = measure.cut
    if side == "head":
        period, first, after = cut.head, cut.from_day, cut.first_day
    else:
        period, first, after = cut.tail, cut.after_day, cut.to_day
    assert period is not None, "only a part that there is has a stamp"
    days = Period(start=day_start(first), end=day_start(after))
    return RawPart(aggregation=measure.metering.aggregation, period=period, days=days)


def _tally(found: Aggregate) -> Tally:
    value = found.value if found.event_count else None
    return Tally(value, found.event_count, found.digest)
