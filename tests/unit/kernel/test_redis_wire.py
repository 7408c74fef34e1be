"""Bytes to replies, however they come."""

import asyncio
from dataclasses import dataclass, field

import pytest

from abaxus_core.kernel.redis_commands import RedisAway, Refused
from abaxus_core.kernel.redis_wire import Greeting, RedisWire

SAID = (
    b"*3\r\n$1\r\na\r\n$-1\r\n$4\r\nb\r\nc\r\n+OK\r\n-WRONGTYPE not that\r\n:7\r\n$0\r\n\r\n*0\r\n"
)
REPLIES = [[b"a", None, b"b\r\nc"], b"OK", Refused("WRONGTYPE"), 7, b"", []]


@dataclass
class Told:
    replies: list[object] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)

    def replied(self, reply: object) -> None:
        self.replies.append(reply)

    def lost(self, reason: str) -> None:
        self.losses.append(reason)


class Written(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = b""
        self.is_open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.bytes += data

    def abort(self) -> None:
        self.is_open = False


@dataclass
class Connected:
    wire: RedisWire = field(default_factory=RedisWire)
    transport: Written = field(default_factory=Written)
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        self.wire.connection_made(self.transport)
        self.wire.lead_to(self.told)


def test_commands_are_written_in_one_piece() -> None:
    it = Connected()
    it.wire.send([("SET", "k", b"\x00", 7), ("PING",)])
    assert it.transport.bytes == (
        b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n\x00\r\n$1\r\n7\r\n*1\r\n$4\r\nPING\r\n"
    )


def test_what_cannot_be_written_down_sends_nothing() -> None:
    it = Connected()
    with pytest.raises(ValueError, match="surrogates"):
        it.wire.send([("PING",), ("GET", "\ud800")])
    assert it.transport.bytes == b""


@pytest.mark.parametrize("cut", range(len(SAID) + 1))
def test_replies_may_be_cut_anywhere(cut: int) -> None:
    it = Connected()
    it.wire.data_received(SAID[:cut])
    it.wire.data_received(SAID[cut:])
    assert it.told == Told(REPLIES)


def test_replies_may_come_byte_by_byte() -> None:
    it = Connected()
    for place in range(len(SAID)):
        it.wire.data_received(SAID[place : place + 1])
    assert it.told == Told(REPLIES)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"-READONLY You can't write against a read only replica.\r\n", "READONLY"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "LOADING"),
        (b"HTTP/1.1 400 Bad Request\r\n", "ProtocolError"),
    ],
)
def test_what_says_that_it_is_of_no_use_is_lost(said: bytes, reason: str) -> None:
    it = Connected()
    it.wire.data_received(b"+OK\r\n" + said + b"+OK\r\n")
    it.wire.connection_lost(None)
    assert it.told == Told([b"OK"], [reason])
    assert not it.transport.is_open
    with pytest.raises(RedisAway):
        it.wire.lead_to(Told())


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_an_end_is_told_once(error: Exception | None) -> None:
    it = Connected()
    it.wire.connection_lost(error)
    it.wire.connection_lost(error)
    assert len(it.told.losses) == 1


def test_who_has_closed_is_told_nothing_more() -> None:
    it = Connected()
    it.wire.close()
    it.wire.data_received(b"+OK\r\n")
    it.wire.connection_lost(None)
    assert it.told == Told()


async def test_a_greeting_is_refused_with_any_of_its_commands() -> None:
    greeting = Greeting(2)
    greeting.replied(Refused("WRONGPASS"))
    greeting.replied(b"OK")
    greeting.lost("hung up")
    with pytest.raises(RedisAway, match="WRONGPASS"):
        await greeting.replies
