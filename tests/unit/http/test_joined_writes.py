"""What is written within a turn of the loop leaves at once and in order; nothing is held longer."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from abaxus_core.http.server.joined_writes import HELD_BYTES_MAX, JoinedWrites


@dataclass
class Line:
    """Writes at one end, and what has come to the other."""

    writes: JoinedWrites
    other: socket.socket

    def come(self) -> bytes | None:
        """What can be read now; None where nothing can, empty once it was closed."""
        try:
            return self.other.recv(2 * HELD_BYTES_MAX)
        except BlockingIOError:
            return None


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()
    other.setblocking(False)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=one)
    with other:
        yield Line(JoinedWrites(transport, loop), other)
        transport.abort()


async def test_a_head_and_its_body_leave_together(line: Line) -> None:
    line.writes.write(b"head ")
    line.writes.write(b"body")
    assert line.come() is None
    await asyncio.sleep(0)
    assert line.come() == b"head body"


async def test_each_turn_has_a_write_of_its_own(line: Line) -> None:
    for answer in (b"one", b"two"):
        line.writes.write(answer)
        await asyncio.sleep(0)
        assert line.come() == answer


async def test_much_is_not_held(line: Line) -> None:
    line.writes.write(b"head ")
    line.writes.write(b"b" * HELD_BYTES_MAX)
    assert (line.come() or b"").startswith(b"head b")


async def test_what_is_held_leaves_before_the_line_is_closed(line: Line) -> None:
    line.writes.write(b"bye")
    line.writes.close()
    assert line.writes.is_closing()
    await asyncio.sleep(0)
    assert (line.come(), line.come()) == (b"bye", b"")


async def test_what_is_held_when_the_line_breaks_is_lost(line: Line) -> None:
    line.writes.write(b"never")
    line.writes.abort()
    await asyncio.sleep(0)
    assert line.come() == b""
