"""Over real sockets: what only a listening server shows."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from abaxus_core.http import app
from tests.support.api import new_key
from tests.support.clock import FakeClock
from tests.support.metering import context_of
from tests.support.postgres import TestDatabases
from tests.support.servers import Served, served

STOP_MAX_S = 5
SIZE_MAX = 64 << 10


class Wire:
    """A connection that speaks bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send, and read one answer: status, headers, body."""
        for part in parts:
            self.writer.write(part)
            with suppress(ConnectionError):
                await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        is_head = b"".join(parts).startswith(b"HEAD")
        length = 0 if is_head else int(headers["content-length"])
        return int(head[0].split()[1]), headers, await self.reader.readexactly(length)


@dataclass(slots=True, kw_only=True)
class Listening:
    """A server; `head` is what each request to it begins with after its first line."""

    server: Served
    head: bytes
    wires: list[Wire] = field(default_factory=list)

    async def connect(self) -> Wire:
        self.wires.append(Wire(*await asyncio.open_connection("127.0.0.1", self.server.port)))
        return self.wires[-1]


@asynccontextmanager
async def listening(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Listening]:
    contexts = {
        mode: context_of(database, clock, API_MAX_BODY_SIZE="64kb")
        for mode, database in (("live", databases.live), ("test", databases.test))
    }
    key = await new_key(contexts["live"], "admin")
    live = contexts["live"]
    asgi = app.build(contexts, live.settings, live.telemetry)
    head = f"host: a\r\nauthorization: Bearer {key}\r\n".encode()
    async with served(asgi) as server:
        up = Listening(server=server, head=head)
        yield up
    for wire in up.wires:
        wire.writer.close()
        with suppress(ConnectionError):
            await wire.writer.wait_closed()


async def test_bodies_come_in_chunks_and_are_bounded(
    databases: TestDatabases, clock: FakeClock
) -> None:
    async with listening(databases, clock) as up:
        wire = await up.connect()
        chunked = b"POST /v1/metrics HTTP/1.1\r\n" + up.head + b"transfer-encoding: chunked\r\n"
        body = b'{"key": "calls", "aggregation": "sum"}'
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        status, _, answer = await wire.ask(chunked + b"\r\n", chunks)
        assert status == 201, answer
        large = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        status, _, answer = await wire.ask(chunked + b"\r\n", large, large, b"0\r\n\r\n")
        assert status == 413, answer
        wire = await up.connect()
        bomb = gzip.compress(b" " * 50_000_000)
        packed = b"POST /v1/metrics HTTP/1.1\r\n" + up.head + b"content-encoding: gzip\r\n"
        status, _, answer = await wire.ask(packed + b"content-length: %d\r\n\r\n" % len(bomb), bomb)
        assert status == 413, answer


@pytest.mark.parametrize("size", [SIZE_MAX + 1, 4_000_000])
async def test_a_refused_body_does_not_swallow_its_answer(
    databases: TestDatabases, clock: FakeClock, size: int
) -> None:
    async with listening(databases, clock) as up:
        wire = await up.connect()
        start = b"POST /v1/metrics HTTP/1.1\r\n" + up.head + b"content-length: %d\r\n\r\n" % size
        status, headers, _ = await wire.ask(
            start, *[b" " * 65_536] * (size // 65_536), b" " * (size % 65_536)
        )
        assert status == 413
        assert headers["x-request-id"]


async def test_one_connection_serves_many_requests(
    databases: TestDatabases, clock: FakeClock
) -> None:
    async with listening(databases, clock) as up:
        wire = await up.connect()
        for _ in range(20):
            assert (await wire.ask(b"GET /v1/metrics HTTP/1.1\r\n" + up.head + b"\r\n"))[0] == 200
            assert (await wire.ask(b"HEAD /v1/metrics HTTP/1.1\r\n" + up.head + b"\r\n"))[0] == 200
            assert (await wire.ask(b"GET /nothing HTTP/1.1\r\n" + up.head + b"\r\n"))[0] == 404
            body = b"POST /v1/metrics HTTP/1.1\r\n" + up.head + b"content-length: 1\r\n\r\n{"
            assert (await wire.ask(body))[0] == 400


async def test_stopping_waits_for_nobody_who_is_idle(
    databases: TestDatabases, clock: FakeClock
) -> None:
    async with listening(databases, clock) as up:
        idle = [await up.connect() for _ in range(5)]
        for wire in idle:
            assert (await wire.ask(b"GET /v1/metrics HTTP/1.1\r\n" + up.head + b"\r\n"))[0] == 200
        half = await up.connect()
        half.writer.write(
            b"POST /v1/metrics HTTP/1.1\r\n" + up.head + b"content-length: 9\r\n\r\n{"
        )
        async with asyncio.timeout(STOP_MAX_S):
            await up.server.end()


async def test_the_server_says_nothing_of_itself(
    databases: TestDatabases, clock: FakeClock
) -> None:
    async with listening(databases, clock) as up:
        wire = await up.connect()
        _, headers, _ = await wire.ask(b"GET /healthz HTTP/1.1\r\n" + up.head + b"\r\n")
        assert "server" not in headers
        assert headers["cache-control"] == "no-store"
