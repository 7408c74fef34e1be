"""What a link to Redis and its wire say to each other; nothing here needs the library."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import msgspec

Command: TypeAlias = tuple[str | bytes | int, ...]


class RedisAway(Exception):
    """No reply; whether the command was carried out is not known."""


class Refused(msgspec.Struct, frozen=True):
    """The server's error in place of a reply, by its kind."""

    kind: str


class Wire(Protocol):
    """An open connection. `run_id` names the life of the server process that it leads to."""

    run_id: bytes

    async def ask(self, commands: Sequence[Command]) -> list[object]:
        """Send all at once; a reply each, `Refused` where the server would not.

        Raises RedisAway on a fault, after which the wire is of no use.
        """

    async def close(self) -> None: ...
