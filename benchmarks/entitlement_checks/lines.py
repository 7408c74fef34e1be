"""Connections of the load: raw sockets, and as little read of an answer as will do."""

import select
import socket
from contextlib import ExitStack
from typing import Final

from benchmarks.report import SECOND_NS

STALLED_S: Final = 10
RECEIVE_BYTES: Final = 1 << 16
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


class Line:
    """A connection with one request under way at most. `since_ns`: from when its answer counts."""

    __slots__ = ("_received", "_socket", "since_ns")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._received = b""
        self.since_ns = 0

    def send(self, request: bytes, since_ns: int) -> None:
        self.since_ns = since_ns
        sent = self._socket.send(request)
        assert sent == len(request), "a request fits the socket's buffer"

    def receive(self) -> bytes | None:
        """The answer, None while it is not complete."""
        received = self._socket.recv(RECEIVE_BYTES)
        if not received:
            raise ConnectionError("the server hung up")
        if self._received:
            received = self._received + received
        if not _is_complete(received):
            self._received = received
            return None
        self._received = b""
        return received


def _is_complete(received: bytes) -> bool:
    head_end = received.find(_HEAD_END)
    if head_end < 0:
        return False
    start = received.find(_LENGTH) + len(_LENGTH)
    length = int(received[start : received.find(b"\r", start)])
    return len(received) >= head_end + len(_HEAD_END) + length


class Lines:
    """All connections of a run, and which of them have something to read."""

    def __init__(self, stack: ExitStack, port: int, count: int) -> None:
        self._epoll = stack.enter_context(select.epoll())
        self.all: list[Line] = []
        self._by_fd: dict[int, Line] = {}
        for _ in range(count):
            connected = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setblocking(False)
            self._epoll.register(connected.fileno(), select.EPOLLIN)
            line = self._by_fd[connected.fileno()] = Line(connected)
            self.all.append(line)

    def readable(self) -> list[Line]:
        """Those with something to read, when there is one."""
        events = self._epoll.poll(STALLED_S)
        if not events:
            raise TimeoutError("the server does not answer")
        return [self._by_fd[fd] for fd, _ in events]

    def readable_within(self, within_ns: int) -> list[Line]:
        """The same, or nobody once the time is over: to the microsecond, where epoll knows ms."""
        if within_ns > 0:
            select.select([self._epoll], [], [], within_ns / SECOND_NS)
        return [self._by_fd[fd] for fd, _ in self._epoll.poll(0)]
