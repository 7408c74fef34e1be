"""Listening: hypercorn inside our own process, until told to stop.

Nothing else imports hypercorn, so that another ASGI server could stand here.
"""

import asyncio
import logging
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from abaxus_core.http.answers import Message, Receive, Send

BACKLOG = 1_024
# hypercorn closes a connection silently after this many requests; a busy client sees a cut.
KEEP_ALIVE_REQUESTS_MAX = 1_000_000_000
# Longer than the usual idle time of load balancers, which must be the first to hang up.
KEEP_ALIVE_TIMEOUT_S = 75
GRACEFUL_TIMEOUT_S = 3


async def serve(app: Any, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Answer on `host:port` until `stop` is set; then let what runs finish, for some seconds.

    Raises OSError when the address is taken.
    """
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.backlog = BACKLOG
    config.keep_alive_max_requests = KEEP_ALIVE_REQUESTS_MAX
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT_S
    config.graceful_timeout = GRACEFUL_TIMEOUT_S
    config.shutdown_timeout = GRACEFUL_TIMEOUT_S
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("abaxus.server")
    senders = _Senders()
    giving_up = asyncio.create_task(senders.give_up_after(stop))
    try:
        await hypercorn_serve(senders.noted(app), config, shutdown_trigger=stop.wait)
    finally:
        giving_up.cancel()


class _Senders:
    """Callers who have not sent all of a request: a stop waits for them some seconds, not for ever.

    From Python 3.12 on hypercorn waits for every connection before it bounds its own drain.
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
        assert task is not None, "hypercorn runs an application in a task"
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
