"""The fast lane: all looks that wait become one statement, on a connection of its own.

A look joins no statement that is on its way already, so it sees whatever was committed before it
came. One that takes too long fails those who wait for it; the next goes out on a fresh connection.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from abaxus_core.domain.entitlement_documents import Measure
from abaxus_core.errors import NotReady
from abaxus_core.kernel.batching import Batcher, Full
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.repositories import entitlement_documents as repository
from abaxus_core.repositories.entitlement_documents import Probe, Seen
from abaxus_core.services.telemetry import Telemetry

LOOKS_AT_ONCE: Final = 128
LOOKS_WAITING_MAX: Final = 4_096
LOOK_TIMEOUT_S: Final = 2


class Look(msgspec.Struct, frozen=True, gc=False):
    """One customer's probes, of `measures`; where there is none, of the document alone."""

    customer_id: str
    known_version: int | None
    measures: Sequence[Measure]


class Lane:
    """One mode's."""

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        self._mode = database.mode
        self._pinned = database.pinned
        self._telemetry = telemetry
        self._looks = Batcher(self._run, size_max=LOOKS_AT_ONCE, waiting_max=LOOKS_WAITING_MAX)

    async def look(self, look: Look) -> Sequence[Seen]:
        """What each measure's probe found, in order, or the document's. Raises NOT_READY."""
        try:
            return await self._looks.submit(look)
        except Full as error:
            raise NotReady("more checks wait than may; try again") from error

    async def _run(self, looks: Sequence[Look]) -> Sequence[Sequence[Seen]]:
        """Many ask for the same at once, so each probe is sent once."""
        places: dict[Probe, int] = {}
        wanted = [
            [
                places.setdefault(Probe(look.customer_id, look.known_version, measure), len(places))
                for measure in look.measures or (None,)
            ]
            for look in looks
        ]
        seen = await self._seen(list(places))
        self._telemetry.entitlements_looked(self._mode, len(looks))
        return [[seen[place] for place in those] for those in wanted]

    async def _seen(self, probes: Sequence[Probe]) -> Sequence[Seen]:
        """A connection that was cut since it was last used is found out by using it."""
        try:
            return await self._ask(probes)
        except TimeoutError:
            raise
        except CONNECTION_FAULTS:
            return await self._ask(probes)

    async def _ask(self, probes: Sequence[Probe]) -> Sequence[Seen]:
        async with self._pinned.connection(LOOK_TIMEOUT_S) as conn:
            return await repository.look(conn, probes)
