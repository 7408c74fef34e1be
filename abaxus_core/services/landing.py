"""Landing: from rows of the inbox to stored events and rollups, exactly once.

One landing is one transaction: it takes rows off the inbox, stores what is new, records payloads
that came second and adds to the rollups; a crash anywhere puts the rows back. Any number of
workers may land side by side (docs/decisions/0003-the-event-pipeline.md). When to land is
worker/landing.py's.
"""

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, date
from typing import Final

import asyncpg
import msgspec
import structlog

from abaxus_core.domain.instants import DAY_US, instant_of
from abaxus_core.errors import InvariantBroken
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import event_keys, events, inbox, rollups, watermarks
from abaxus_core.repositories.constraints import violated
from abaxus_core.repositories.events import ArrivedEvent, identity_of
from abaxus_core.repositories.inbox import InboxRow

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
        months = _months_of(arrived)
        if not months <= self._months:
            raise _PartitionsMissing(months - self._months)
        stored_count = await store(conn, arrived, landed_on=self._clock().astimezone(UTC).date())
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


async def store(conn: Connection, arrived: Sequence[ArrivedEvent], *, landed_on: date) -> int:
    """Store the events whose keys are new and add them to the rollups; return how many were new.

    `arrived` is in the order of acceptance: of one key the first wins. What differs from the first
    is recorded as a conflict. The partitions must be there; `landed_on` is today's UTC day.
    """
    landing_no = await watermarks.begin_landing(conn)
    offered, second = _first_of_each_key(arrived)
    fresh, known = await _claim_keys(conn, offered)
    second += [offered[each] for each in known if known[each] != offered[each].payload_hash]
    if second:
        await events.record_conflicts(conn, second)
    if fresh:
        await events.insert(conn, fresh, landing_no)
        await rollups.add(conn, fresh, landing_no=landing_no, landed_on=landed_on)
    return len(fresh)


def _first_of_each_key(
    arrived: Iterable[ArrivedEvent],
) -> tuple[dict[bytes, ArrivedEvent], list[ArrivedEvent]]:
    """The first event of each identity, and the later ones that differ from it."""
    first: dict[bytes, ArrivedEvent] = {}
    second: list[ArrivedEvent] = []
    for each in arrived:
        kept = first.setdefault(identity_of(each), each)
        if kept.payload_hash != each.payload_hash:
            second.append(each)
    return first, second


async def _claim_keys(
    conn: Connection, offered: dict[bytes, ArrivedEvent]
) -> tuple[list[ArrivedEvent], dict[bytes, int]]:
    """Store the keys that are new: their events in key order, and the payload hashes of the others.

    As a rule all are new, because accepting answers replays, so it is tried before it is asked.
    Somebody else may store some at any moment; each round then knows more of them.
    """
    hashes = {named: offered[named].payload_hash for named in sorted(offered)}
    known: dict[bytes, int] = {}
    for _ in range(KEY_ROUNDS_MAX):
        try:
            async with conn.transaction():
                await event_keys.insert(conn, hashes)
        except asyncpg.UniqueViolationError as error:
            if violated(error) != event_keys.ONCE:
                raise
            known |= await event_keys.known(conn, hashes)
            hashes = {each: hashes[each] for each in hashes if each not in known}
        else:
            return [offered[named] for named in hashes], known
    raise InvariantBroken("keys are taken again and again while they are being stored")


def _arrivals(row: InboxRow) -> list[ArrivedEvent]:
    queued = inbox.decode_events(row)
    if len(queued) != row.event_count or len(queued) > ROW_EVENTS_MAX:
        raise ValueError(f"the row says {row.event_count} events and holds {len(queued)}")
    first = row.inbox_id * ROW_EVENTS_MAX
    return [
        ArrivedEvent(event, first + place, row.received_at, event.payload_hash)
        for place, event in enumerate(queued)
    ]


def _months_of(arrived: Sequence[ArrivedEvent]) -> frozenset[date]:
    """The UTC months in which the events occurred, as their first days."""
    days = {each.event.occurred_us // DAY_US for each in arrived}
    return frozenset(instant_of(day * DAY_US).date().replace(day=1) for day in days)


def _sum(one: Landed, other: Landed) -> Landed:
    return Landed(
        row_count=one.row_count + other.row_count,
        event_count=one.event_count + other.event_count,
        stored_count=one.stored_count + other.stored_count,
        quarantined_count=one.quarantined_count + other.quarantined_count,
    )
