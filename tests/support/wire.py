"""A wire between the product and PostgreSQL that breaks at a chosen message.

What a process that dies leaves behind, one message at a time: the statement that was never sent,
and the one, a COMMIT perhaps, whose answer nobody heard.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

import msgspec

CHUNK_BYTES = 1 << 16
# Statements that run: a Query, or a Bind with its Execute. Preparing them first depends on what the
# connection has seen before, and would make a fault strike elsewhere when it is played again.
RUNS = (b"Q", b"B")
COMMIT = b"COMMIT"
# In the start-up message of connections that wait for notifications or send them.
DEDICATED = b"synchronous_commit"

FaultKind = Literal["unsent", "unheard", "committed", "cancelled"]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Strikes at the statement after `at` others.

    `unsent`: the connection breaks instead of it; `unheard`: it runs, and breaks then; `committed`:
    the same of COMMITs alone; `cancelled`: the task that waits for it is cancelled.
    """

    at: int
    kind: FaultKind


class Wire:
    """Relays connections; `dsn` leads through it. `strikes` counts the faults that struck."""

    def __init__(self, dsn: str) -> None:
        self._direct = urlsplit(dsn)
        self.dsn = dsn
        self.strikes = 0
        self._fault: Fault | None = None
        self._cancel: Callable[[], object] = _nobody
        self._left = 0
        self._relays: set[asyncio.Task[None]] = set()

    @contextmanager
    def faulty(
        self, fault: Fault | None, cancel: Callable[[], object] | None = None
    ) -> Iterator[None]:
        """Within it the fault strikes once, if so many statements are run at all."""
        self._fault, self._left = fault, fault.at if fault else 0
        self._cancel = cancel or _nobody
        try:
            yield
        finally:
            self._fault, self._cancel = None, _nobody

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._direct.port is not None
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            server, server_writer = await asyncio.open_connection("127.0.0.1", self._direct.port)
            await _Relay(self, reader, writer, server, server_writer).run()
        finally:
            self._relays.discard(task)

    def struck(self, sent: bytes) -> Fault | None:
        """The fault, if it strikes at what is sent."""
        if self._fault is None or not sent.startswith(RUNS):
            return None
        if self._fault.kind == "committed" and COMMIT not in sent:
            return None
        self._left -= 1
        if self._left >= 0:
            return None
        fault, self._fault = self._fault, None
        self.strikes += 1
        if fault.kind == "cancelled":
            self._cancel()
        return fault

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.relay, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.dsn = self._direct._replace(
            netloc=self._direct.netloc.replace(f":{self._direct.port}", f":{port}")
        ).geturl()
        try:
            yield
        finally:
            server.close()
            for task in self._relays:
                task.cancel()
            await asyncio.gather(*self._relays, return_exceptions=True)


class _Relay:
    def __init__(
        self,
        wire: Wire,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        self._wire = wire
        self._reader, self._writer = reader, writer
        self._server, self._server_writer = server, server_writer
        self._unheard = False

    async def run(self) -> None:
        """Until either end hangs up, or the wire breaks."""
        both = {asyncio.create_task(self._up()), asyncio.create_task(self._down())}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for writer in (self._writer, self._server_writer):
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _up(self) -> None:
        hello = await self._reader.read(CHUNK_BYTES)
        self._server_writer.write(hello)
        while sent := await self._reader.read(CHUNK_BYTES):
            fault = None if DEDICATED in hello else self._wire.struck(sent)
            if fault is not None and fault.kind == "unsent":
                return
            self._unheard = fault is not None and fault.kind in ("unheard", "committed")
            self._server_writer.write(sent)
            await self._server_writer.drain()

    async def _down(self) -> None:
        while heard := await self._server.read(CHUNK_BYTES):
            if self._unheard:
                return
            self._writer.write(heard)
            await self._writer.drain()


def _nobody() -> None:
    """Nobody is cancelled."""
