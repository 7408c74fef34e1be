"""Keeps what runs in a test on this machine, and tells what it tried to reach elsewhere."""

import asyncio
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost", "localhost."})

_attempts: list[list[str]] = []


@contextmanager
def contained() -> Iterator[list[str]]:
    """Until the block is left, hosts elsewhere are neither looked up nor connected to: that raises
    PermissionError, and the host is in the list, whoever may have caught the error.

    Raises RuntimeError on an event loop that connects past Python's own sockets, as uvloop does.
    """
    _check_loop(asyncio.get_running_loop())
    _listen()
    attempts: list[str] = []
    _attempts.append(attempts)
    try:
        yield attempts
    finally:
        _attempts.remove(attempts)


def _check_loop(loop: asyncio.AbstractEventLoop) -> None:
    if isinstance(loop, asyncio.BaseEventLoop):
        return
    raise RuntimeError(f"these checks need asyncio's own event loop, not {type(loop).__module__}'s")


@functools.cache
def _listen() -> None:
    """An audit hook cannot be taken off again; outside `contained` it does nothing."""
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _attempts or event not in ("socket.getaddrinfo", "socket.connect"):
        return
    target = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
    host = target[0] if isinstance(target, tuple) else target
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if isinstance(name, str) and name and name not in LOOPBACK and not name.startswith("/"):
        _attempts[-1].append(name)
        raise PermissionError(f"{name} is not on this machine")
