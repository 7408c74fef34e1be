"""A port of 127.0.0.1 for a server that a test starts, perhaps again and again."""

import secrets
import socket
from contextlib import suppress

# Below what systems give to connections that go out (Linux: from 32,768 on): a server that was
# killed finds its port free again.
LOWEST = 20_000
ABOVE = 32_000
TRIED_MAX = 100


def free_port() -> int:
    """A port that nobody listens on now."""
    for _ in range(TRIED_MAX):
        port = LOWEST + secrets.randbelow(ABOVE - LOWEST)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
