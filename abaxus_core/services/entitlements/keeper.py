"""A process that gives what it has kept without asking first, and says so to those who change it.

What it heard last is given for KEPT_FOR_MS; a change that finds such a process waits for as long,
after its commit and before its answer. The steps are in docs/decisions/0023-checks-from-memory.md.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import msgspec
import structlog

from abaxus_core.kernel.database import Database
from abaxus_core.kernel.elapsed import NS_PER_MS, elapsed_ns
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.repositories import entitlement_keepers as repository
from abaxus_core.services.entitlements.change_feed import Heard
from abaxus_core.services.request_times import NS_PER_SECOND

KEPT_FOR_MS: Final = 50
# For clocks that do not go equally fast.
MARGIN_MS: Final = 5
RENEW_EVERY_S: Final = 30
TRUSTED_FOR_S: Final = 120
FORGOTTEN_AFTER: Final = timedelta(minutes=10)
TIMEOUT_S: Final = 1
REST_S: Final = 1

_log = structlog.get_logger("abaxus.entitlements")


class _Registered(msgspec.Struct, frozen=True):
    """Changes that are committed at `server` after `since_ns` and before `until_ns` wait for us."""

    server: datetime
    since_ns: int
    until_ns: int


class Keeper:
    """This process, to one mode of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._id = uuid4()
        self._registered: _Registered | None = None
        self._renewed_from_ns = 0
        self._renewing: asyncio.Task[None] | None = None

    def may_give(self, heard: Heard, now_ns: int) -> bool:
        """Whether what was true then may be given now: no later change has been answered yet."""
        if now_ns >= self._renewed_from_ns:
            self._renew_beside(now_ns)
        known = self._registered
        return (
            known is not None
            and known.server == heard.server
            and known.since_ns <= heard.sent_ns
            and now_ns < known.until_ns
            and now_ns - heard.sent_ns <= KEPT_FOR_MS * NS_PER_MS
        )

    async def wait_out(self, changed_ns: int) -> None:
        """Return when no other process gives what was true before a change.

        It was committed before `changed_ns`.
        """
        ended_ns = changed_ns + (KEPT_FOR_MS + MARGIN_MS) * NS_PER_MS
        while (left_ns := ended_ns - elapsed_ns()) > 0:  # noqa: ASYNC110 - it is time that is waited for
            await asyncio.sleep(left_ns / NS_PER_SECOND)

    async def is_alone(self) -> bool:
        """Whether no other process was a keeper when this was asked, for certain."""
        try:
            async with asyncio.timeout(TIMEOUT_S), self._database.connection() as conn:
                return not await repository.are_there_others(conn, self._id)
        except CONNECTION_FAULTS as error:
            _log.info("entitlements.keepers_unknown", error=type(error).__name__)
            return False

    async def leave(self) -> None:
        """Give nothing any more, and have nobody wait."""
        self._renewed_from_ns = 1 << 63
        renewing, registered = self._renewing, self._registered
        self._registered = None
        if renewing is not None:
            renewing.cancel()
            await asyncio.wait((renewing,))
        if renewing is None and registered is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S), self._database.connection() as conn:
                await repository.leave(conn, self._id)
        except CONNECTION_FAULTS as error:
            _log.info("entitlements.keeper_left_behind", error=type(error).__name__)

    def _renew_beside(self, now_ns: int) -> None:
        if self._renewing is None:
            self._renewed_from_ns = now_ns + REST_S * NS_PER_SECOND
            self._renewing = asyncio.create_task(self._renew(), name="entitlement-keeper")
            self._renewing.add_done_callback(self._has_renewed)

    def _has_renewed(self, renewing: asyncio.Task[None]) -> None:
        self._renewing = None
        if not renewing.cancelled() and (error := renewing.exception()) is not None:
            _log.warning("entitlements.not_registered", error=type(error).__name__)

    async def _renew(self) -> None:
        """What was registered goes on where it cannot have been forgotten meanwhile."""
        begun_ns = elapsed_ns()
        async with asyncio.timeout(TIMEOUT_S), self._database.connection() as conn:
            server = await repository.renew(conn, self._id)
        known = self._registered
        goes_on = known is not None and known.server == server and begun_ns < known.until_ns
        since_ns = known.since_ns if known is not None and goes_on else elapsed_ns()
        self._registered = _Registered(server, since_ns, begun_ns + TRUSTED_FOR_S * NS_PER_SECOND)
        self._renewed_from_ns = begun_ns + RENEW_EVERY_S * NS_PER_SECOND
