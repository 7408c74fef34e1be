"""Backfill: events that are stored when answered, past the inbox, each once for ever.

Checked as events that are accepted (ingestion.py) and stored as events that land (landing.py), in
one transaction: keys, events, conflicts and rollups, or none of it.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from typing import Final

import asyncpg
import msgspec

from abaxus_core.domain.instants import microseconds
from abaxus_core.errors import AbaxusError
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import inbox
from abaxus_core.repositories.arrivals import Arrival, arrivals
from abaxus_core.repositories.inbox import QueuedEvent
from abaxus_core.services.ingestion import (
    BATCH_MAX,
    Accepted,
    Checked,
    Intake,
    Offer,
    Result,
    outcome_of,
    sort,
)
from abaxus_core.services.landing import ROW_EVENTS_MAX, Stored, store
from abaxus_core.services.partitions import Partitions
from abaxus_core.services.telemetry import Telemetry

# At once, in this process: backfills of one customer wait for each other, each with a connection.
RUNNING_MAX: Final = 2


class Backfill:
    """Stores events for one mode, for the life of the process."""

    def __init__(
        self, database: Database, clock: Clock, telemetry: Telemetry, intake: Intake
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._intake = intake
        self._partitions = Partitions(database)
        self._turns = asyncio.Semaphore(RUNNING_MAX)

    async def store(self, offers: Sequence[Offer]) -> Sequence[Result]:
        """Store the events that are valid and new; return one result per item, in order.

        An item that is an error already stays one; at most BATCH_MAX items. Durable on return, and
        in every total. An event that is accepted and has not landed is new here: it is stored
        now, and its landing finds it known.
        """
        assert len(offers) <= BATCH_MAX, "the route bounds a batch"
        checked = await self._intake.check(offers)
        async with self._turns:
            results, conflict_count = await self._store(checked)
        mode = self._database.mode
        self._telemetry.conflicts_recorded(mode, conflict_count)
        for outcome, count in Counter(map(outcome_of, results)).items():
            self._telemetry.events_seen(mode, outcome, count)
        return results

    async def _store(self, checked: Sequence[Checked | AbaxusError]) -> tuple[list[Result], int]:
        try:
            return await self._try(checked)
        except asyncpg.CheckViolationError:
            # No partition: the month was dropped since it was made.
            self._partitions.forget()
        return await self._try(checked)

    async def _try(self, checked: Sequence[Checked | AbaxusError]) -> tuple[list[Result], int]:
        occurred_us = [each.event.occurred_us for each in checked if isinstance(each, Checked)]
        await self._partitions.make(self._partitions.missing(occurred_us))
        return await self._database.transaction(lambda conn: self._step(conn, checked))

    async def _step(
        self, conn: Connection, checked: Sequence[Checked | AbaxusError]
    ) -> tuple[list[Result], int]:
        """The results, and how many payloads were recorded as second."""
        sorting = await sort(conn, checked)
        offered = [*sorting.fresh.values(), *sorting.second]
        if not offered:
            return sorting.results, 0
        arrived = await self._arrived(conn, offered)
        stored = await store(conn, arrived, landed_on=self._clock().astimezone(UTC).date())
        return _told(checked, sorting.results, stored), stored.conflict_count

    async def _arrived(self, conn: Connection, offered: Sequence[QueuedEvent]) -> list[Arrival]:
        """Numbered as if they were a row of the inbox: of one instant, the last to come counts."""
        first = await inbox.next_number(conn) * ROW_EVENTS_MAX
        return arrivals(offered, first_no=first, received_us=microseconds(self._clock()))


def _told(
    checked: Sequence[Checked | AbaxusError], results: Sequence[Result], stored: Stored
) -> list[Result]:
    """The results, in which what somebody else stored meanwhile is a duplicate."""
    fresh = {each.identity for each in stored.fresh}
    return [
        msgspec.structs.replace(result, duplicate=True)
        if isinstance(each, Checked) and isinstance(result, Accepted) and each.identity not in fresh
        else result
        for each, result in zip(checked, results, strict=True)
    ]
