"""The landing loop: woken when events are accepted, else it looks by itself now and then."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

import structlog

from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.services.landing import EVENTS_MAX, Landed, Lander
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.topics import INBOX

LANDINGS_AT_ONCE: Final = 2
POLL_S: Final = 5
PAUSE_AFTER_FAILURE_S: Final = 1

_Land: TypeAlias = Callable[[], Awaitable[Landed]]

_log = structlog.get_logger("abaxus.landing")


async def run(database: Database, clock: Clock, telemetry: Telemetry, stop: asyncio.Event) -> None:
    """Land one mode's events until `stop` is set; a landing that has begun is finished first.

    Any number of these may run, in one process or in many. Where more waits than one landing takes,
    LANDINGS_AT_ONCE run at once, so that one is made ready while the database stores the other.
    """
    landers = [Lander(database, clock) for _ in range(LANDINGS_AT_ONCE)]
    woken = asyncio.Event()
    stopping = asyncio.create_task(_wake_on(stop, woken))

    def on_notification(_payload: str) -> None:
        woken.set()

    async def land(lander: Lander) -> Landed:
        landed = await lander.land()
        telemetry.conflicts_recorded(database.mode, landed.conflict_count)
        _log.debug("landing.done", events=landed.event_count, stored=landed.stored_count)
        return landed

    database.listener.subscribe(database.channel(INBOX), on_notification)
    try:
        while not stop.is_set():
            woken.clear()
            if not await _land_all([partial(land, lander) for lander in landers], stop):
                await _sleep(woken, POLL_S)
    finally:
        database.listener.unsubscribe(database.channel(INBOX), on_notification)
        stopping.cancel()


async def _land_all(lands: Sequence[_Land], stop: asyncio.Event) -> bool:
    """Land until the inbox is empty or `stop` is set; return whether to look again at once."""
    try:
        landed = await lands[0]()
        if landed.event_count < EVENTS_MAX:
            return landed.row_count > 0
        async with asyncio.TaskGroup() as group:
            for land in lands:
                group.create_task(_land_until_empty(land, stop))
    except Exception as error:  # noqa: BLE001 - the edge of a job: the next round tries again
        _log.exception("landing.failed", error=type(error).__name__)
        await _sleep(stop, PAUSE_AFTER_FAILURE_S)
    return True


async def _land_until_empty(land: _Land, stop: asyncio.Event) -> None:
    while not stop.is_set() and (await land()).row_count > 0:
        pass


async def _wake_on(stop: asyncio.Event, woken: asyncio.Event) -> None:
    await stop.wait()
    woken.set()


async def _sleep(event: asyncio.Event, seconds: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
