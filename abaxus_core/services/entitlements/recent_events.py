"""What a few recent events come to: one short statement for all who wait, on a pooled connection.

It stands beside the fast lane, so that whoever locks or repairs the events holds up only those who
need them, and beside the slow lane, where it would wait for what takes long.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from abaxus_core.kernel.batching import Batcher, Full
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.repositories import events
from abaxus_core.repositories.events import Aggregate, Window

EVENTS_MAX: Final = 256
WINDOWS_AT_ONCE: Final = 64
WINDOWS_WAITING_MAX: Final = 1_024
TIMEOUT_S: Final = 1


class RecentEvents:
    """One mode's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._windows = Batcher(
            self._run, size_max=WINDOWS_AT_ONCE, waiting_max=WINDOWS_WAITING_MAX
        )

    async def aggregate(self, window: Window) -> Aggregate | None:
        """The aggregate of at most EVENTS_MAX of the window's events; None if not to be had."""
        try:
            return await self._windows.submit(window)
        except (Full, *CONNECTION_FAULTS):
            return None

    async def _run(self, windows: Sequence[Window]) -> Sequence[Aggregate]:
        """Many ask for the same at once, so each window is sent once."""
        wanted = list(dict.fromkeys(windows))
        async with asyncio.timeout(TIMEOUT_S), self._database.connection() as conn:
            found = await events.aggregate_recent(conn, wanted, rows_max=EVENTS_MAX)
        aggregates = dict(zip(wanted, found, strict=True))
        return [aggregates[window] for window in windows]
