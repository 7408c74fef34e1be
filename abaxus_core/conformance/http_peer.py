"""The other end of a plugin's HTTP client: a server on this machine that answers as it is told.

It speaks HTTP over a real socket, so that what goes wrong with sockets goes wrong. `network`
carries requests to it whatever host they were for, and stands under the kernel's own client, whose
rules on hosts, redirects and sizes hold as in production.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Literal

import h11
import httpx
import msgspec

REQUEST_BYTES_MAX: Final = 80 << 20
CHUNK_BYTES: Final = 1 << 16

Fault = Literal["absent", "closes_unread", "closes_after_reading", "silent", "not_http", "half"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a service answers. With `half`, the body breaks off before its announced end."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came over the wire; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class HttpPeer:
    """Answers every request with `answer`, unless `fault` spoils it; `absent`: nobody listens."""

    def __init__(self) -> None:
        self.answer = Answer(status=200)
        self.fault: Fault | None = None
        self.received: list[Received] = []
        self.port = 0
        self.closed_port = 0

    def network(self) -> httpx.AsyncBaseTransport:
        return _Rerouted(self)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.fault != "closes_unread":
                await self._exchange(reader, writer)
        except (h11.RemoteProtocolError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        self.received.append(await _read(connection, reader))
        if self.fault == "silent":
            await asyncio.Event().wait()
        if self.fault == "closes_after_reading":
            return
        if self.fault == "not_http":
            writer.write(b"\x16\x03\x01 this is no answer\r\n\r\n")
        else:
            writer.write(self._answer(connection))
        await writer.drain()

    def _answer(self, connection: h11.Connection) -> bytes:
        """The answer's bytes; the connection ends with it."""
        missing = 100 if self.fault == "half" else 0
        headers = {
            **self.answer.headers,
            "Content-Length": str(len(self.answer.body) + missing),
            "Connection": "close",
        }
        response = h11.Response(status_code=self.answer.status, headers=list(headers.items()))
        head = connection.send(response) or b""
        return head + self.answer.body


@asynccontextmanager
async def http_peer() -> AsyncIterator[HttpPeer]:
    """A peer that listens until the block is left; then its connections are cut."""
    peer = HttpPeer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(peer.serve(reader, writer))
        tasks.add(task)
        await asyncio.wait({task})

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        with socket.socket() as bound:  # and not listening: connections are refused
            bound.bind(("127.0.0.1", 0))
            peer.closed_port = bound.getsockname()[1]
            yield peer
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> Received:
    body = bytearray()
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(CHUNK_BYTES))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            assert len(body) <= REQUEST_BYTES_MAX, "the request is too long for the tests"
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return _received(request, bytes(body))
        else:
            raise ConnectionError("the client went away")


def _received(request: h11.Request, body: bytes) -> Received:
    return Received(
        method=request.method.decode(),
        target=request.target.decode(),
        headers={name.decode(): value.decode() for name, value in request.headers},
        body=body,
    )


class _Rerouted(httpx.AsyncBaseTransport):
    def __init__(self, peer: HttpPeer) -> None:
        self._peer = peer
        self._inner = httpx.AsyncHTTPTransport(trust_env=False, retries=0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        absent = self._peer.fault == "absent"
        port = self._peer.closed_port if absent else self._peer.port
        here = httpx.Request(
            request.method,
            request.url.copy_with(scheme="http", host="127.0.0.1", port=port),
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return await self._inner.handle_async_request(here)

    async def aclose(self) -> None:
        await self._inner.aclose()
