"""One connection to a Redis server, by the lower level of redis-py: no pool, no retries.

The only module that imports it and hiredis; redis_link.py loads it where a Redis is configured, so
that nobody else carries the libraries. A wire is used by one task at a time, until its first fault.
"""

from collections.abc import Sequence
from typing import Any, cast

from hiredis import pack_command
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from abaxus_core.kernel.redis_commands import Command, RedisAway, Refused

CLIENT_NAME = "abaxus"
READ_BYTES = 1 << 16
ABOUT_SERVER = (("INFO", "server"), ("INFO", "replication"))


class RedisWire:
    """A Wire of redis_commands.py."""

    def __init__(self, connection: Any, run_id: bytes) -> None:
        self.run_id = run_id
        self._connection = connection

    async def ask(self, commands: Sequence[Command]) -> list[object]:
        try:
            return await _ask(self._connection, commands)
        except (RedisError, OSError) as error:
            raise RedisAway(type(error).__name__) from error

    async def close(self) -> None:
        await _hang_up(self._connection)


async def dial(url: str) -> RedisWire:
    """A wire to a primary. Raises RedisAway; the caller bounds how long it may take."""
    arguments: dict[str, Any] = dict(parse_url(url))
    kind = arguments.pop("connection_class", Connection)
    connection = kind(
        **arguments,
        protocol=2,
        client_name=CLIENT_NAME,
        socket_timeout=None,
        socket_read_size=READ_BYTES,
    )
    try:
        await connection.connect()
        return RedisWire(connection, await _run_id(connection))
    except (RedisError, OSError) as error:
        await _hang_up(connection)
        raise RedisAway(type(error).__name__) from error
    except BaseException:
        await _hang_up(connection)
        raise


async def _run_id(connection: Any) -> bytes:
    """A replica is no server to ask: it is told late what was deleted."""
    server, replication = await _ask(connection, ABOUT_SERVER)
    if _field(replication, b"role") != b"master":
        raise RedisAway("it is a replica")
    return _field(server, b"run_id")


def _field(info: object, name: bytes) -> bytes:
    lines = info.split(b"\r\n") if isinstance(info, bytes) else []
    values = dict(line.partition(b":")[::2] for line in lines)
    if name not in values:
        raise RedisAway("it does not say who it is")
    return values[name]


async def _ask(connection: Any, commands: Sequence[Command]) -> list[object]:
    packed = b"".join([_packed(command) for command in commands])
    await connection.send_packed_command(packed, check_health=False)
    return [await _reply(connection) for _ in commands]


def _packed(command: Command) -> bytes:
    packed: bytes = pack_command(cast("Any", command))  # its stub knows tuples of one
    return packed


async def _reply(connection: Any) -> object:
    try:
        return await connection.read_response()
    except ReadOnlyError:
        raise
    except ResponseError as error:
        return Refused(type(error).__name__)


async def _hang_up(connection: Any) -> None:
    try:
        await connection.disconnect(nowait=True)
    except (RedisError, OSError):
        return
