"""uvicorn on httptools: several times as many small requests as hypercorn; HTTP/1.1 alone.

Needs the extra `abaxus[uvicorn]`.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from abaxus_core.http.server.bounds import (
    BACKLOG,
    GRACEFUL_TIMEOUT_S,
    HEAD_SIZE_MAX,
    KEEP_ALIVE_TIMEOUT_S,
)
from abaxus_core.http.server.joined_writes import JoinedWrites

CANCEL_TIMEOUT_S: Final = 1
DATE_EVERY_S: Final = 1
DATE_TICK: Final = 0  # one of those at which uvicorn's on_tick sets the Date header
TOO_LARGE: Final = STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n"


async def serve(app: Any, *, host: str, port: int, stop: asyncio.Event) -> None:
    """As `server.serve`."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_TIMEOUT_S,
        timeout_graceful_shutdown=GRACEFUL_TIMEOUT_S,
    )
    with _bound(host, port) as listener:
        await _Server(config, stop).serve(sockets=[listener])


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket of our own: uvicorn would end the process where the address is taken."""
    # asyncio sends small answers at once only on sockets that are TCP by name.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        yield listener


class _Server(uvicorn.Server):
    """Stops when it is told to, not by signals, and leaves no request running behind."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=CANCEL_TIMEOUT_S)

    async def main_loop(self) -> None:
        """uvicorn's own looks ten times a second whether it is to stop."""
        while not self._stop.is_set():
            await self.on_tick(DATE_TICK)
            with suppress(TimeoutError):
                async with asyncio.timeout(DATE_EVERY_S):
                    await self._stop.wait()


class _Connection(HttpToolsProtocol):
    """Sends an answer in one write; bounds the head of a request, its size and the time it takes.

    hypercorn bounds both. uvicorn itself gives a head neither: its idle time ends with the first
    byte, whatever follows.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport, self.loop)))
        self._pending = 0
        self._wait_for_head(self.loop.time() + KEEP_ALIVE_TIMEOUT_S)

    def data_received(self, data: bytes) -> None:
        waiting = self.timeout_keep_alive_task
        self._pending += len(data)
        super().data_received(data)
        if self._pending > HEAD_SIZE_MAX:
            self._refuse()
        elif waiting is not None and self._idle():
            self._wait_for_head(waiting.when())

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._pending = 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._pending = 0

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self, until: Any) -> None:
        self.timeout_keep_alive_task = self.loop.call_at(until, self.timeout_keep_alive_handler)

    def _refuse(self) -> None:
        if self._idle() and not self.transport.is_closing():
            self.transport.write(TOO_LARGE)
        self.transport.close()
