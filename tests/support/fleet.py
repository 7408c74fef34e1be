"""Real API and worker processes on one database, started and killed at little cost."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx
import msgspec

from abaxus_core.kernel.http_transport import network
from tests.support.fleet_process import Ended, Kill, Kind, Start
from tests.support.ports import free_port
from tests.support.servers import ASGI_SERVER
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 20
ENVIRON: Mapping[str, str] = {
    "API_MASTER_KEY": "k" * 32,
    "DATABASE_SSL_MODE": "disable",
    "DATABASE_MAX_CONNECTIONS": "10",
    "API_RATE_LIMIT_RPM": "0",
    "ASGI_SERVER": ASGI_SERVER,
    "LOG_LEVEL": "error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A process of the fleet; `port` is 0 where it serves nothing."""

    kind: Literal["api", "worker"]
    pid: int
    port: int = 0


@dataclass(slots=True)
class Fleet:
    """Processes that know nothing of each other. Each call returns when it is done."""

    forks: Process
    environ: Mapping[str, str]
    clients: dict[int, httpx.AsyncClient] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def api(self, *, port: int | None = None) -> Member:
        """An API process that has been forked, and may not listen yet."""
        port = free_port() if port is None else port
        pid = await self.start("api", PORT=str(port))
        return Member(kind="api", pid=pid, port=port)

    async def listening_api(self) -> Member:
        """An API process that listens."""
        api = await self.api()
        await eventually(self.is_ready, api)
        return api

    async def worker(self) -> Member:
        return Member(kind="worker", pid=await self.start("worker"))

    async def kill(self, member: Member) -> None:
        """End it by SIGKILL."""
        await self._end(member.pid)

    async def start(self, kind: Kind, **environ: str) -> int:
        """The id of a process of this kind, with these variables beside the fleet's."""
        pid = await self._ask(Start(kind, {**self.environ, **environ}))
        self.running.add(pid)
        return pid

    async def has_ended(self, pid: int) -> bool:
        """Whether a process has ended by itself; asked for no more once it has."""
        ended = await self._ask(Ended(pid)) == pid
        if ended:
            self.running.discard(pid)
        return ended

    async def disband(self) -> None:
        """Kill whatever is left, and speak to nobody any more."""
        for client in self.clients.values():
            await client.aclose()
        for pid in [*self.running]:
            await self._end(pid)

    async def again(self, member: Member) -> Member:
        """Another one in place of one that was killed, on the same port."""
        return await self.worker() if member.kind == "worker" else await self.api(port=member.port)

    def client(self, port: int) -> httpx.AsyncClient:
        """What speaks to the API on `port`, whichever process that is."""
        if port not in self.clients:
            self.clients[port] = httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                timeout=TIMEOUT_S,
                transport=network(),
                trust_env=False,
            )
        return self.clients[port]

    async def is_ready(self, member: Member) -> bool:
        try:
            return (await self.client(member.port).get("/healthz")).status_code == 200
        except httpx.TransportError:
            return False

    async def _end(self, pid: int) -> None:
        await self._ask(Kill(pid))
        self.running.discard(pid)

    async def _ask(self, order: Start | Kill | Ended) -> int:
        assert self.forks.stdin is not None
        assert self.forks.stdout is not None
        async with self.asking:
            self.forks.stdin.write(msgspec.json.encode(order) + b"\n")
            await self.forks.stdin.drain()
            return int(await self.forks.stdout.readline())


@asynccontextmanager
async def forks() -> AsyncIterator[Process]:
    """What forks the processes of fleets, imports done; whatever is left of them is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.fleet_process", cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def fleet(
    dsn: str, *, forked: Process | None = None, **settings: str
) -> AsyncIterator[Fleet]:
    """A fleet on the database of `dsn`; whatever is left of it at the end is killed.

    `forked`: of somebody who needs many fleets, one after another.
    """
    async with forks() if forked is None else nullcontext(forked) as process:
        up = Fleet(process, {**ENVIRON, "DATABASE_URL": dsn, **settings})
        try:
            yield up
        finally:
            await up.disband()
