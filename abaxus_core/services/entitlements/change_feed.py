"""What changed since this process last asked: one short statement for all checks that wait.

A check joins no statement that is on its way already, so whatever was committed before it came is
told. Each position is a snapshot of the database: what the next statement sees and that snapshot
did not is what changed between the two, in whatever order it was begun or committed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog

from abaxus_core.kernel.batching import Batcher, Full
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.elapsed import elapsed_ns
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.repositories import entitlement_changes as repository
from abaxus_core.repositories.entitlement_changes import Change, Told
from abaxus_core.services.request_times import NS_PER_SECOND

TIMEOUT_S: Final = 1
REST_S: Final = 1
# Nobody who asks after a pause should have to hear of all that changed meanwhile.
FOLLOW_EVERY_MS: Final = 100
FOLLOWS_UNASKED_MAX: Final = 600
ASKING_AT_ONCE: Final = 1_024
ASKING_MAX: Final = 4_096
# Of transactions not over yet when the position was taken, and of all since then.
ROWS_MAX: Final = 1_000
USAGES_MAX: Final = 16_384

_log = structlog.get_logger("abaxus.entitlements")


class Heard(msgspec.Struct, frozen=True):
    """What the last statement has come to, and when it was sent."""

    position: str
    server: datetime
    as_of: datetime
    sent_ns: int


class ChangeFeed:
    """One mode's. `changed` is told of each change; `lost`, that anything may have changed.

    `asked` counts statements. What one tells was committed after the one before was sent. `heard`
    is None unless all that changes from then on will be told of.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        changed: Callable[[Change], Awaitable[None]],
        lost: Callable[[], None],
    ) -> None:
        self._following = database.following
        self._clock = clock
        self._changed = changed
        self._lost = lost
        self.asked = 0
        self.heard: Heard | None = None
        self._rests_until_ns = 0
        self._unasked = 0
        self._timer: asyncio.TimerHandle | None = None
        self._beside: asyncio.Task[None] | None = None
        self._asking = Batcher(self._run, size_max=ASKING_AT_ONCE, waiting_max=ASKING_MAX)

    async def catch_up(self) -> None:
        """Return when all that was committed before the call is told, or lost."""
        self._unasked = 0
        await self._catch_up()

    def catch_up_beside(self) -> None:
        """Ask soon, and have nobody wait for it."""
        self._unasked = 0
        if self._beside is None:
            self._ask_beside()

    async def _catch_up(self) -> None:
        try:
            await self._asking.submit(None)
        except Full:
            self._stop()

    async def _run(self, asking: Sequence[None]) -> Sequence[None]:
        if self.heard is not None or time.monotonic_ns() >= self._rests_until_ns:
            as_of, sent_ns = self._clock(), elapsed_ns()
            try:
                await self._tell(await self._ask(), as_of, sent_ns)
            except CONNECTION_FAULTS as error:
                _log.info("entitlements.changes_lost", error=type(error).__name__)
                self._stop()
            self._follow_later()
        return asking

    async def _ask(self) -> Told:
        self.asked += 1
        position = None if self.heard is None else self.heard.position
        async with self._following.connection(TIMEOUT_S) as conn:
            return await repository.told(conn, position, rows_max=ROWS_MAX, usages_max=USAGES_MAX)

    async def _tell(self, told: Told, as_of: datetime, sent_ns: int) -> None:
        before = self.heard
        if before is not None and not told.whole:
            # A transaction that has been open for long would have each statement look at as many.
            self._stop()
            return
        if before is None or told.server != before.server:
            self.heard = None
            self._lost()
        try:
            for change in told.changes:
                await self._changed(change)
        except BaseException:
            # It is not told again on top of what was: the next one begins anew.
            self.heard = None
            raise
        self.heard = Heard(told.position, told.server, as_of, sent_ns)

    def _follow_later(self) -> None:
        """Ask unasked, as long as checks came lately."""
        if self._timer is None and self.heard is not None and self._unasked < FOLLOWS_UNASKED_MAX:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(FOLLOW_EVERY_MS / 1000, self._follow)

    def _follow(self) -> None:
        self._timer = None
        if self._beside is not None:
            self._follow_later()
            return
        self._unasked += 1
        self._ask_beside()

    def _ask_beside(self) -> None:
        self._beside = asyncio.create_task(self._catch_up(), name="entitlement-changes")
        self._beside.add_done_callback(self._asked_beside)

    def _asked_beside(self, task: asyncio.Task[None]) -> None:
        self._beside = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("entitlements.changes_not_told", error=type(error).__name__)

    def _stop(self) -> None:
        """Begin anew after a rest."""
        self.heard = None
        self._rests_until_ns = time.monotonic_ns() + REST_S * NS_PER_SECOND
        self._lost()
