"""How long a request may take: asyncio.timeout for many at once, at a tenth of its cost.

asyncio sets a timer for each; here one looks now and then for whoever has been at it too long.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 1


class Patience:
    """Ends what takes longer than `limit_s`, at most LOOK_EVERY_S later. One per event loop."""

    def __init__(self, limit_s: int) -> None:
        self._limit_s = limit_s
        # Since when each is at it, the oldest first; None for who has been given up.
        self._since: dict[asyncio.Task[Any], Any] = {}
        self._looks = False

    async def within(self, work: Awaitable[T]) -> T:
        """What the work returns. Raises TimeoutError when it is ended, having been cancelled."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "a request is answered in a task"
        self._since[task] = loop.time()
        if not self._looks:
            self._look_later(loop)
        try:
            return await work
        except asyncio.CancelledError:
            if self._since[task] is None and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            del self._since[task]

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = True
        loop.call_later(LOOK_EVERY_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        started_before = loop.time() - self._limit_s
        for task, since in self._since.items():
            if since is None:
                continue
            if since > started_before:
                break
            self._since[task] = None
            task.cancel()
        self._looks = bool(self._since)
        if self._looks:
            self._look_later(loop)
