"""One connection to a Redis server: bytes to commands and back, on asyncio's callbacks.

The only module that imports redis-py, for what a URL means and for TLS, and hiredis, for what is
said; redis_link.py loads it where a Redis is configured, so that nobody else carries the libraries.
What is asked together and how long a reply may take is redis_pipeline.py's.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

from hiredis import ProtocolError, Reader, ReplyError, pack_command
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import RedisError

from abaxus_core.kernel.redis_commands import Command, Receiver, RedisAway, Refused

CLIENT_NAME: Final = "abaxus"
ABOUT_SERVER: Final[tuple[Command, ...]] = (("INFO", "server"), ("INFO", "replication"))
# A primary that has become a replica, and a server that does not know yet what it holds.
OF_NO_USE: Final = frozenset({"READONLY", "LOADING"})
NO_REPLY_YET: Final = object()


class RedisWire(asyncio.Protocol):
    """A Wire of redis_commands.py, once `dial` has given it a `run_id`."""

    def __init__(self) -> None:
        self.run_id = b""
        self._reader = Reader(notEnoughData=NO_REPLY_YET)
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def lead_to(self, receiver: Receiver) -> None:
        if self._is_lost:
            raise RedisAway("the connection has ended")
        self._receiver = receiver

    def send(self, commands: Sequence[Command]) -> None:
        packed = b"".join([_packed(command) for command in commands])
        assert self._transport is not None
        self._transport.write(packed)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while not self._is_lost and (reply := self._reader.gets()) is not NO_REPLY_YET:
                self._tell(reply)
        except ProtocolError:
            self._lose("ProtocolError")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(type(exc).__name__ if exc else "hung up")

    def close(self) -> None:
        self._is_lost = True
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()

    def _tell(self, reply: object) -> None:
        if isinstance(reply, ReplyError):
            reply = Refused(str(reply).partition(" ")[0])
            if reply.kind in OF_NO_USE:
                self._lose(reply.kind)
                return
        if self._receiver is not None:
            self._receiver.replied(reply)

    def _lose(self, reason: str) -> None:
        receiver = self._receiver
        self.close()
        if receiver is not None:
            receiver.lost(reason)


class Greeting:
    """A Receiver of redis_commands.py, for the replies to what is said first."""

    def __init__(self, count: int) -> None:
        self.replies: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()
        self._count = count
        self._told: list[object] = []

    def replied(self, reply: object) -> None:
        self._told.append(reply)
        if isinstance(reply, Refused):
            self.lost(reply.kind)
        elif len(self._told) == self._count and not self.replies.done():
            self.replies.set_result(self._told)

    def lost(self, reason: str) -> None:
        if not self.replies.done():
            self.replies.set_exception(RedisAway(reason))


async def dial(url: str) -> RedisWire:
    """A wire to a primary. Raises RedisAway; the caller bounds how long it may take."""
    try:
        there = _place(url)
        wire = await _connected(there)
        try:
            wire.run_id = await _run_id(wire, there)
        except BaseException:
            wire.close()
            raise
    except (RedisError, OSError, TypeError, ValueError) as error:
        raise RedisAway(type(error).__name__) from error
    return wire


def _place(url: str) -> AbstractConnection:
    """What a connection of redis-py's knows of where it leads; it is never opened."""
    arguments: dict[str, Any] = dict(parse_url(url))
    kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
    return kind(**arguments)


async def _connected(there: AbstractConnection) -> RedisWire:
    loop = asyncio.get_running_loop()
    if isinstance(there, Connection):
        tls = there.ssl_context.get() if isinstance(there, SSLConnection) else None
        _, wire = await loop.create_connection(RedisWire, there.host, there.port, ssl=tls)
    else:
        assert isinstance(there, UnixDomainSocketConnection)
        _, wire = await loop.create_unix_connection(RedisWire, there.path)
    return wire


async def _run_id(wire: RedisWire, there: AbstractConnection) -> bytes:
    """A replica is no server to ask: it is told late what was deleted."""
    commands = [*_introduction(there), *ABOUT_SERVER]
    greeting = Greeting(len(commands))
    wire.lead_to(greeting)
    wire.send(commands)
    *_, server, replication = await greeting.replies
    if _field(replication, b"role") != b"master":
        raise RedisAway("it is a replica")
    return _field(server, b"run_id")


def _introduction(there: AbstractConnection) -> Sequence[Command]:
    commands: list[Command] = []
    if there.username:
        commands.append(("AUTH", there.username, there.password or ""))
    elif there.password:
        commands.append(("AUTH", there.password))
    commands.append(("CLIENT", "SETNAME", CLIENT_NAME))
    if there.db:
        commands.append(("select", there.db))  # in capitals it is SQL's, which lives in files
    return commands


def _field(info: object, name: bytes) -> bytes:
    lines = info.split(b"\r\n") if isinstance(info, bytes) else []
    values = dict(line.partition(b":")[::2] for line in lines)
    if name not in values:
        raise RedisAway("it does not say who it is")
    return values[name]


def _packed(command: Command) -> bytes:
    packed: bytes = pack_command(cast("Any", command))  # its stub knows tuples of one
    return packed
