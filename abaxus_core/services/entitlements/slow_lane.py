"""The slow lane: what may take long, on few pooled connections, beside the fast one.

Raw parts of usage, documents that are missing, exact answers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Literal, TypeAlias, TypeVar

from abaxus_core.errors import NotReady
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.services.telemetry import Telemetry

T = TypeVar("T")

What: TypeAlias = Literal["document", "raw_part", "exact"]

RUNNING_MAX: Final = 2
WAITING_MAX: Final = 1_024
TIMEOUT_S: Final = 10


class SlowLane:
    """One mode's."""

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        self._database = database
        self._telemetry = telemetry
        self._turns = asyncio.Semaphore(RUNNING_MAX)
        self._waiting = 0
        self._shared: dict[Hashable, asyncio.Task[None]] = {}

    async def run(
        self,
        what: What,
        step: Callable[[Connection], Awaitable[T]],
        *,
        isolation: str = "read_committed",
    ) -> T:
        """The result of `step`, in a transaction of its own. Raises NOT_READY and TimeoutError."""
        if self._waiting >= WAITING_MAX:
            raise NotReady("more checks wait than may; try again")
        self._telemetry.entitlements_read_slowly(self._database.mode, what)
        self._waiting += 1
        try:
            async with asyncio.timeout(TIMEOUT_S), self._turns:
                return await self._database.transaction(step, isolation=isolation)
        finally:
            self._waiting -= 1

    async def share(
        self,
        what: What,
        key: Hashable,
        step: Callable[[Connection], Awaitable[None]],
        *,
        isolation: str = "read_committed",
    ) -> None:
        """As `run`, once for all who want `key` meanwhile.

        It may have begun before one of them came: whether what it read is recent enough is theirs
        to judge. It goes on when they are gone.
        """
        task = self._shared.get((what, key))
        if task is None:
            task = asyncio.create_task(self.run(what, step, isolation=isolation), name="slow lane")
            self._shared[what, key] = task
            task.add_done_callback(lambda done: self._finished((what, key), done))
        await asyncio.shield(task)

    def _finished(self, key: Hashable, done: asyncio.Task[None]) -> None:
        del self._shared[key]
        if not done.cancelled():
            # Whoever still waits is told; an error that nobody waits for is no news.
            done.exception()
