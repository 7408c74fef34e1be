"""Landing: from rows of the inbox to stored events and rollups, exactly once.

One landing is one transaction: it takes rows off the inbox, stores what is new, records payloads
that came second and adds to the rollups; a crash anywhere puts the rows back. Any number of
workers may land side by side (docs/decisions/0003-the-event-pipeline.md). When to land is
worker/landing.py's.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, date
from typing import Final

import asyncpg
import msgspec
import structlog

from abaxus_core.domain.instants import microseconds
from abaxus_core.errors import InvariantBroken
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import event_keys, events, inbox, rollups, watermarks
from abaxus_core.repositories.arrivals import Arrival, arrivals
from abaxus_core.repositories.constraints import violated
from abaxus_core.repositories.inbox import InboxRow, QueuedEvent
from abaxus_core.services.partitions import Partitions

EVENTS_MAX: Final = 20_000
BYTES_MAX: Final = 8 << 20
ROW_EVENTS_MAX: Final = 1_000
PARTITION_ROUNDS_MAX: Final = 100
KEY_ROUNDS_MAX: Final = 100
ONE: Final = 1

# What a row can do to a landing by what is in it, and will do again.
POISON: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    msgspec.MsgspecError,
    OverflowError,
    ValueError,
    struct.error,
)

_log = structlog.get_logger("abaxus.landing")


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """What one landing took off the inbox, and what of it was new."""

    row_count: int = 0
    event_count: int = 0
    stored_count: int = 0
    conflict_count: int = 0
    quarantined_count: int = 0


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The events that were new, and how many payloads were recorded as second."""

    fresh: Sequence[Arrival]
    conflict_count: int


class Lander:
    """Lands for one mode."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._partitions = Partitions(database)

    async def land(self) -> Landed:
        """Land the oldest rows that nobody else holds, about EVENTS_MAX events.

        A row that cannot land is set aside, whole, and the others land without it.
        """
        try:
            return await self._land(EVENTS_MAX)
        except POISON as error:
            _log.warning("landing.poisoned", error=type(error).__name__)
        # A month may have been dropped since it was made; that is no fault of the events.
        self._partitions.forget()
        return await self._land_row_by_row()

    async def _land_row_by_row(self) -> Landed:
        total = Landed()
        while total.event_count < EVENTS_MAX:
            landed = await self._land(ONE)
            if landed.row_count == 0:
                break
            total = _sum(total, landed)
        return total

    async def transaction(self, step: Callable[[Connection], Awaitable[Landed]]) -> Landed:
        """Run a step that lands rows in a transaction; again, where partitions had to be made."""
        for _ in range(PARTITION_ROUNDS_MAX):
            try:
                return await self._database.transaction(step)
            except _PartitionsMissing as missing:
                await self._partitions.make(missing.months)
        return Landed()

    async def land_or_set_aside(self, conn: Connection, rows: Sequence[InboxRow]) -> Landed:
        """Land rows that the transaction, one of `transaction`, has taken; all of them or none."""
        try:
            async with conn.transaction():
                return await self._store(conn, rows)
        except POISON as error:
            return await self._set_aside(conn, rows, error)

    async def _land(self, events_max: int) -> Landed:
        return await self.transaction(lambda conn: self._step(conn, events_max))

    async def _step(self, conn: Connection, events_max: int) -> Landed:
        rows = await inbox.claim(conn, events_max=events_max, bytes_max=BYTES_MAX)
        if not rows:
            return Landed()
        if events_max > ONE:
            return await self._store(conn, rows)
        return await self.land_or_set_aside(conn, rows)

    async def _store(self, conn: Connection, rows: Sequence[InboxRow]) -> Landed:
        arrived: list[Arrival] = []
        missing: set[date] = set()
        for row in rows:
            queued = _queued(row)
            missing |= self._partitions.missing(event.occurred_us for event in queued)
            arrived += _arrivals(row, queued)
            # Another landing goes on meanwhile: its answers from the database wait for nobody.
            await asyncio.sleep(0)
        if missing:
            raise _PartitionsMissing(frozenset(missing))
        stored = await store(conn, arrived, landed_on=self._clock().astimezone(UTC).date())
        return Landed(
            row_count=len(rows),
            event_count=len(arrived),
            stored_count=len(stored.fresh),
            conflict_count=stored.conflict_count,
        )

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


async def store(conn: Connection, arrived: Sequence[Arrival], *, landed_on: date) -> Stored:
    """Store the events whose keys are new and add them to the rollups; return which were new.

    `arrived` is in the order of acceptance: of one key the first wins. What differs from what is
    stored is recorded as a conflict. The partitions must be there; `landed_on` is today's UTC day.
    """
    landing_no = await watermarks.begin_landing(conn)
    offered, repeated = _first_of_each_key(arrived)
    fresh, known = await _claim_keys(conn, offered)
    second = _differing([offered[named] for named in known] + repeated, offered, known)
    conflict_count = await events.record_conflicts(conn, second) if second else 0
    if fresh:
        await events.insert(conn, fresh, landing_no)
        await rollups.add(conn, fresh, landing_no=landing_no, landed_on=landed_on)
    return Stored(fresh=fresh, conflict_count=conflict_count)


def _first_of_each_key(
    arrived: Iterable[Arrival],
) -> tuple[dict[bytes, Arrival], list[Arrival]]:
    """The first event of each identity, and the later ones."""
    first: dict[bytes, Arrival] = {}
    later = [each for each in arrived if first.setdefault(each.identity, each) is not each]
    return first, later


def _differing(
    unstored: Iterable[Arrival],
    offered: Mapping[bytes, Arrival],
    known: Mapping[bytes, int],
) -> list[Arrival]:
    """Those whose payload is not the stored one: the known one's, or else the offered event's."""
    return [
        each
        for each in unstored
        if each.payload_hash != known.get(each.identity, offered[each.identity].payload_hash)
    ]


async def _claim_keys(
    conn: Connection, offered: dict[bytes, Arrival]
) -> tuple[list[Arrival], dict[bytes, int]]:
    """Store the keys that are new: their events in key order, and the payload hashes of the others.

    As a rule all are new, because accepting answers replays, so it is tried before it is asked.
    Somebody else may store some at any moment; each round then knows more of them.
    """
    fresh = {named: offered[named] for named in sorted(offered)}
    known: dict[bytes, int] = {}
    for _ in range(KEY_ROUNDS_MAX):
        try:
            async with conn.transaction():
                await event_keys.insert(conn, (each.key for each in fresh.values()))
        except asyncpg.UniqueViolationError as error:
            if violated(error) != event_keys.ONCE:
                raise
            known |= await event_keys.known(conn, fresh)
            fresh = {named: each for named, each in fresh.items() if named not in known}
        else:
            return list(fresh.values()), known
    raise InvariantBroken("keys are taken again and again while they are being stored")


def _queued(row: InboxRow) -> list[QueuedEvent]:
    queued = inbox.decode_events(row)
    if len(queued) != row.event_count or len(queued) > ROW_EVENTS_MAX:
        raise ValueError(f"the row says {row.event_count} events and holds {len(queued)}")
    return queued


def _arrivals(row: InboxRow, queued: Sequence[QueuedEvent]) -> list[Arrival]:
    return arrivals(
        queued, first_no=row.inbox_id * ROW_EVENTS_MAX, received_us=microseconds(row.received_at)
    )


def _sum(one: Landed, other: Landed) -> Landed:
    return Landed(
        row_count=one.row_count + other.row_count,
        event_count=one.event_count + other.event_count,
        stored_count=one.stored_count + other.stored_count,
        conflict_count=one.conflict_count + other.conflict_count,
        quarantined_count=one.quarantined_count + other.quarantined_count,
    )
