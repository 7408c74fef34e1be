"""Backfill: events that are stored when answered, past the inbox, each once for ever.

Checked as events that are accepted (ingestion.py) and stored as events that land (landing.py), in
one transaction: keys, events, conflicts and rollups, or none of it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import Final, TypeVar

import asyncpg
import msgspec

from abaxus_core.domain.events import Event
from abaxus_core.domain.instants import microseconds
from abaxus_core.errors import AbaxusError, IdempotencyMismatch
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import event_keys, inbox
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

T = TypeVar("T")

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

    async def check_one(self, event: Event) -> Checked:
        """Hold an event against the catalogue that `store_within` is to store. Raises what an
        item's result would say."""
        (checked,) = await self._intake.check([event])
        if isinstance(checked, AbaxusError):
            raise checked
        return checked

    async def ready(
        self,
        checked: Sequence[Checked | AbaxusError],
        transaction: Callable[[], Awaitable[T]],
    ) -> T:
        """Run a transaction that stores these; again, where a month was dropped since it was made.

        Its partitions are made before, in a transaction of their own.
        """
        try:
            return await self._try(checked, transaction)
        except asyncpg.CheckViolationError:
            self._partitions.forget()
        return await self._try(checked, transaction)

    async def store_within(self, conn: Connection, checked: Checked) -> None:
        """Store an event, within a transaction of `ready`, unless it is known already.

        Raises METRIC_INACTIVE for a new one of a metric that takes none, and
        IDEMPOTENCY_KEY_REUSED when the key is known with another payload; a rollback must follow.
        """
        (result,), _ = await self._step(conn, [checked])
        if isinstance(result, AbaxusError):
            raise result
        if result.duplicate:
            await _check_same(conn, checked)
        self._telemetry.events_seen(self._database.mode, outcome_of(result), 1)

    async def _store(self, checked: Sequence[Checked | AbaxusError]) -> tuple[list[Result], int]:
        return await self.ready(
            checked, lambda: self._database.transaction(lambda conn: self._step(conn, checked))
        )

    async def _try(
        self,
        checked: Sequence[Checked | AbaxusError],
        transaction: Callable[[], Awaitable[T]],
    ) -> T:
        occurred_us = [each.event.occurred_us for each in checked if isinstance(each, Checked)]
        await self._partitions.make(self._partitions.missing(occurred_us))
        return await transaction()

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


async def _check_same(conn: Connection, checked: Checked) -> None:
    known = await event_keys.known(conn, [checked.identity])
    if known[checked.identity] != checked.event.payload_hash:
        raise IdempotencyMismatch(
            "another event of the customer has this key", field="idempotency_key"
        )


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
