"""Usage whose parts are not all whole days: raw parts are read once and kept with their stamp.

A stamp tells the state of the days that a part lies in, and the statement that brings the usage of
the whole days brings it along: while it is the same, what is kept is exact.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Final, Literal, TypeAlias

from abaxus_core.domain.entitlement_documents import Measure
from abaxus_core.domain.periods import Period
from abaxus_core.domain.usage_parts import together
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.kept import Kept
from abaxus_core.repositories import entitlement_documents as repository
from abaxus_core.repositories import events
from abaxus_core.repositories.entitlement_documents import Probe, Seen
from abaxus_core.services.entitlements.exact import window_of
from abaxus_core.services.entitlements.slow_lane import SlowLane

PARTS_KEPT_MAX: Final = 20_000

Side: TypeAlias = Literal["head", "tail"]


class RawParts:
    """One mode's."""

    def __init__(self, slow_lane: SlowLane) -> None:
        self._slow_lane = slow_lane
        self._kept: Kept[tuple[Measure, Side], tuple[str, Decimal | None]] = Kept(PARTS_KEPT_MAX)

    def used(self, measure: Measure, seen: Seen) -> Decimal | None:
        """What was used when `seen` was; None where a part has to be read first."""
        parts: dict[str, Decimal | None] = {"head": None, "days": seen.value, "tail": None}
        for side, _, stamp in _edges(measure, seen):
            kept = self._kept.get((measure, side))
            if kept is None or kept[0] != stamp:
                return None
            parts[side] = kept[1]
        return together(measure.metering.aggregation, tuple(parts.values()))

    async def read(self, probe: Probe) -> None:
        """Read the raw parts of a probe's measure, once for all who wait for them."""
        await self._slow_lane.share(
            probe.measure, partial(self._read, probe), isolation="repeatable_read"
        )

    async def _read(self, probe: Probe, conn: Connection) -> None:
        """Stamps and parts are of one instant, that of the transaction."""
        measure = probe.measure
        assert measure is not None, "there are parts of a measure only"
        (seen,) = await repository.look(conn, [probe])
        edges = list(_edges(measure, seen))
        found = await events.aggregate(conn, [window_of(measure, period) for _, period, _ in edges])
        for (side, _, stamp), aggregate in zip(edges, found, strict=True):
            value = aggregate.value if aggregate.event_count else None
            self._kept.put((measure, side), (stamp, value))


def _edges(measure: Measure, seen: Seen) -> Iterator[tuple[Side, Period, str]]:
    """The raw parts that lie in days with events."""
    if measure.cut.head is not None and seen.head is not None:
        yield "head", measure.cut.head, seen.head
    if measure.cut.tail is not None and seen.tail is not None:
        yield "tail", measure.cut.tail, seen.tail
