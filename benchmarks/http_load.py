"""A closed loop of HTTP requests: some connections, each asking again as soon as it is answered.

Reads only what it must of an answer, so that the load costs less than what it measures.
"""

import asyncio
from time import perf_counter_ns

import msgspec

CONNECTIONS = 16
SECOND_NS = 1_000_000_000
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did: requests in a second, how long each took, sorted; the server's CPU time."""

    rate: int
    took_ns: list[int]
    cpu_ns: int = 0

    @property
    def cpu_ns_each(self) -> int:
        """CPU time of the server for one request."""
        return self.cpu_ns // len(self.took_ns)

    def percentile_ns(self, percent: int) -> int:
        return self.took_ns[(len(self.took_ns) - 1) * percent // 100]


class _Caller(asyncio.Protocol):
    def __init__(self, request: bytes, status: bytes, until_ns: int) -> None:
        self.took_ns: list[int] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._begins = b"HTTP/1.1 " + status
        self._until_ns = until_ns
        self._received = b""
        self._started_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return
        start = self._received.find(_LENGTH) + len(_LENGTH)
        length = int(self._received[start : self._received.find(b"\r", start)])
        if len(self._received) < head_end + len(_HEAD_END) + length:
            return
        assert self._received.startswith(self._begins), self._received
        now_ns = perf_counter_ns()
        self.took_ns.append(now_ns - self._started_ns)
        if now_ns < self._until_ns:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))

    def _ask(self) -> None:
        self._received = b""
        self._started_ns = perf_counter_ns()
        self._transport.write(self._request)


def run(
    port: int, request: bytes, *, status: bytes, for_ns: int, connections: int = CONNECTIONS
) -> Load:
    """Ask for `for_ns`, and at least once; every answer must have the status."""
    return asyncio.run(_run(port, request, status, for_ns, connections))


async def _run(port: int, request: bytes, status: bytes, for_ns: int, connections: int) -> Load:
    loop = asyncio.get_running_loop()
    started_ns = perf_counter_ns()
    callers = [
        (
            await loop.create_connection(
                lambda: _Caller(request, status, started_ns + for_ns), "127.0.0.1", port
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(caller.done for caller in callers))
    took_ns = sorted(each for caller in callers for each in caller.took_ns)
    rate = len(took_ns) * SECOND_NS // (perf_counter_ns() - started_ns)
    return Load(rate=rate, took_ns=took_ns)


def request(method: str, path: str, *, key: str | None = None, body: bytes | None = None) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + _HEAD_END + (body or b"")
