"""The landing loop: woken when events are accepted, else it looks by itself now and then."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.services.landing import Lander
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.topics import INBOX

POLL_S: Final = 5
PAUSE_AFTER_FAILURE_S: Final = 1

_log = structlog.get_logger("abaxus.landing")


async def run(database: Database, clock: Clock, telemetry: Telemetry, stop: asyncio.Event) -> None:
    """Land one mode's events until `stop` is set; a landing that has begun is finished first.

    Any number of these may run, in one process or in many.
    """
    lander = Lander(database, clock)
    woken = asyncio.Event()
    stopping = asyncio.create_task(_wake_on(stop, woken))

    def on_notification(_payload: str) -> None:
        woken.set()

    database.listener.subscribe(database.channel(INBOX), on_notification)
    try:
        while not stop.is_set():
            woken.clear()
            if not await _land_all(lander, database.mode, telemetry, stop):
                await _sleep(woken, POLL_S)
    finally:
        database.listener.unsubscribe(database.channel(INBOX), on_notification)
        stopping.cancel()


async def _land_all(lander: Lander, mode: str, telemetry: Telemetry, stop: asyncio.Event) -> bool:
    """Land until the inbox is empty or `stop` is set; return whether to look again at once."""
    try:
        while not stop.is_set():
            landed = await lander.land()
            if landed.row_count == 0:
                break
            telemetry.conflicts_recorded(mode, landed.conflict_count)
            _log.debug("landing.done", events=landed.event_count, stored=landed.stored_count)
    except Exception as error:  # noqa: BLE001 - the edge of a job: the next round tries again
        _log.exception("landing.failed", error=type(error).__name__)
        await _sleep(stop, PAUSE_AFTER_FAILURE_S)
        return True
    return False


async def _wake_on(stop: asyncio.Event, woken: asyncio.Event) -> None:
    await stop.wait()
    woken.set()


async def _sleep(event: asyncio.Event, seconds: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
