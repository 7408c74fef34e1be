"""Landing: from rows of the inbox to stored events and rollups, exactly once.

One landing is one transaction: it takes rows off the inbox, stores what is new, records payloads
that came second and adds to the rollups; a crash anywhere puts the rows back. Any number of
workers may land side by side (docs/decisions/0003-the-event-pipeline.md). When to land is
worker/landing.py's.
"""

from collections.abc import Sequence
from datetime import UTC, date
from typing import Final

import asyncpg
import msgspec
import structlog

from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import events, inbox, watermarks
from abaxus_core.repositories.events import ArrivedEvent, Conflict
from abaxus_core.repositories.inbox import InboxRow

EVENTS_MAX: Final = 20_000
BYTES_MAX: Final = 8 << 20
ROW_EVENTS_MAX: Final = 1_000
PARTITION_ROUNDS_MAX: Final = 100
ONE: Final = 1

# What a row can do to a landing by what is in it, and will do again.
POISON: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    msgspec.MsgspecError,
    OverflowError,
)

_log = structlog.get_logger("abaxus.landing")


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """What one landing took off the inbox, and what of it was new."""

    row_count: int = 0
    event_count: int = 0
    stored_count: int = 0
    quarantined_count: int = 0


class Lander:
    """Lands for one mode; knows which months have partitions, so that it need not ask again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._months: set[date] = set()

    async def land(self) -> Landed:
        """Land the oldest rows that nobody else holds, about EVENTS_MAX events.

        A row that cannot land is set aside, whole, and the others land without it.
        """
        try:
            return await self._land(EVENTS_MAX)
        except POISON as error:
            _log.warning("landing.poisoned", error=type(error).__name__)
        # A month may have been dropped since it was made; that is no fault of the events.
        self._months.clear()
        return await self._land_row_by_row()

    async def _land_row_by_row(self) -> Landed:
        total = Landed()
        while total.event_count < EVENTS_MAX:
            landed = await self._land(ONE)
            if landed.row_count == 0:
                break
            total = _sum(total, landed)
        return total

    async def _land(self, events_max: int) -> Landed:
        for _ in range(PARTITION_ROUNDS_MAX):
            try:
                return await self._database.transaction(lambda conn: self._step(conn, events_max))
            except _PartitionsMissing as missing:
                await self._make_partitions(missing.months)
        return Landed()

    async def _make_partitions(self, months: frozenset[date]) -> None:
        """In a transaction of its own: DDL locks must not be held while events are stored."""
        await self._database.transaction(lambda conn: events.ensure_partitions(conn, months))
        self._months |= months

    async def _step(self, conn: Connection, events_max: int) -> Landed:
        rows = await inbox.claim(conn, events_max=events_max, bytes_max=BYTES_MAX)
        if not rows:
            return Landed()
        if events_max > ONE:
            return await self._store(conn, rows)
        try:
            async with conn.transaction():
                return await self._store(conn, rows)
        except POISON as error:
            return await self._set_aside(conn, rows, error)

    async def _store(self, conn: Connection, rows: Sequence[InboxRow]) -> Landed:
        arrived = [each for row in rows for each in _arrivals(row)]
        months = frozenset(_month(each) for each in arrived)
        if not months <= self._months:
            raise _PartitionsMissing(months - self._months)
        landing_no = await watermarks.begin_landing(conn)
        stored_count = await events.land(conn, arrived, landing_no)
        if stored_count < len(arrived):
            await _record_conflicts(conn, arrived)
        return Landed(row_count=len(rows), event_count=len(arrived), stored_count=stored_count)

    async def _set_aside(
        self, conn: Connection, rows: Sequence[InboxRow], error: Exception
    ) -> Landed:
        for row in rows:
            _log.error("landing.quarantined", inbox_id=row.inbox_id, error=type(error).__name__)
            await inbox.set_aside(conn, row, f"{type(error).__name__}: {error}", self._clock())
        return Landed(
            row_count=len(rows),
            event_count=sum(row.event_count for row in rows),
            quarantined_count=len(rows),
        )


class _PartitionsMissing(Exception):
    def __init__(self, months: frozenset[date]) -> None:
        super().__init__(str(sorted(months)))
        self.months = months


def _arrivals(row: InboxRow) -> list[ArrivedEvent]:
    queued = inbox.decode_events(row)
    assert len(queued) <= ROW_EVENTS_MAX, "arrival numbers leave room for a thousand a row"
    first = row.inbox_id * ROW_EVENTS_MAX
    return [
        ArrivedEvent(event=event, arrival_no=first + place, received_at=row.received_at)
        for place, event in enumerate(queued)
    ]


def _month(arrived: ArrivedEvent) -> date:
    return arrived.event.occurred_at.astimezone(UTC).date().replace(day=1)


async def _record_conflicts(conn: Connection, arrived: Sequence[ArrivedEvent]) -> None:
    second = await events.conflicting(conn, arrived)
    if second:
        conflicts = [Conflict(event=each.event, received_at=each.received_at) for each in second]
        await events.record_conflicts(conn, conflicts)


def _sum(one: Landed, other: Landed) -> Landed:
    return Landed(
        row_count=one.row_count + other.row_count,
        event_count=one.event_count + other.event_count,
        stored_count=one.stored_count + other.stored_count,
        quarantined_count=one.quarantined_count + other.quarantined_count,
    )
