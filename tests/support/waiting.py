"""Waiting for what happens beside the test, with a bound."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

WAIT_MAX_S = 30
LOOK_EVERY_MS = 5


async def eventually(condition: Callable[..., Awaitable[bool]], *args: object) -> None:
    """Return as soon as `condition(*args)` holds; fail after WAIT_MAX_S."""
    async with asyncio.timeout(WAIT_MAX_S):
        while not await condition(*args):  # noqa: ASYNC110 - what happens elsewhere sets no event
            await asyncio.sleep(LOOK_EVERY_MS / 1000)


async def soon(event: asyncio.Event) -> None:
    """Return as soon as `event` is set; fail after WAIT_MAX_S."""
    async with asyncio.timeout(WAIT_MAX_S):
        await event.wait()


async def until(instant: datetime) -> None:
    """Return once the clock has come to it: a loop's timers may be a moment early."""
    while (left := instant - datetime.now(UTC)).total_seconds() > 0:  # noqa: ASYNC110 - it is time that is waited for
        await asyncio.sleep(left.total_seconds())
