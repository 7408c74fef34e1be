"""What a link to Redis and its wire say to each other; nothing here needs the library."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import msgspec

Command: TypeAlias = tuple[str | bytes | int, ...]


class RedisAway(Exception):
    """No reply; whether the command was carried out is not known."""


class Refused(msgspec.Struct, frozen=True):
    """The server's error in place of a reply, by its first word."""

    kind: str


class Receiver(Protocol):
    """Whom a wire tells, from within the event loop's own callbacks: it never waits."""

    def replied(self, reply: object) -> None:
        """The next reply, in the order of what was sent; `Refused`, where the server would not."""

    def lost(self, reason: str) -> None:
        """The wire is of no use any more. Told once, and nothing after it."""


class Wire(Protocol):
    """An open connection. `run_id` names the life of the server process that it leads to."""

    run_id: bytes

    def lead_to(self, receiver: Receiver) -> None:
        """Tell this one from now on. Raises RedisAway where the wire is lost already."""

    def send(self, commands: Sequence[Command]) -> None:
        """Write all at once, without waiting; each is replied to.

        Raises TypeError or ValueError, with nothing sent, where one cannot be written down.
        """

    def close(self) -> None:
        """At once; the receiver is told nothing more."""
