"""Callers who have not sent all of a request: a stop waits for them some seconds, not for ever."""

import asyncio
from typing import Any

from abaxus_core.http.answers import Message, Receive, Send
from abaxus_core.http.server.bounds import GRACEFUL_TIMEOUT_S


class Senders:
    """Those of one server. Without it a caller who never sends his body would end as a failure:
    hypercorn (from Python 3.12 on) waits for every connection before it bounds its own drain,
    uvicorn cancels what answers him.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Task[Any]] = set()
        self._given_up = False

    def noted(self, app: Any) -> Any:
        """The application; to one that still waits for its caller, the caller will be gone."""

        async def application(scope: Any, receive: Receive, send: Send) -> None:
            await app(scope, lambda: self._receive(receive), send)

        return application

    async def give_up_after(self, stop: asyncio.Event) -> None:
        """Once `stop` is set and the grace is over, let nobody wait any more."""
        await stop.wait()
        await asyncio.sleep(GRACEFUL_TIMEOUT_S)
        self._given_up = True
        for task in tuple(self._waiting):
            task.cancel()

    async def _receive(self, receive: Receive) -> Message:
        task = asyncio.current_task()
        assert task is not None, "a server runs an application in a task"
        self._waiting.add(task)
        try:
            return await receive()
        except asyncio.CancelledError:
            if not self._given_up:
                raise
            task.uncancel()
            return {"type": "http.disconnect"}
        finally:
            self._waiting.discard(task)
