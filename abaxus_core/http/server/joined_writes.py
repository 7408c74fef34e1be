"""A transport that sends at once what is written to it within a turn of the event loop.

uvicorn writes the head of an answer and its body apart, and event loops send each write by itself:
two system calls and two packets, of which each costs as much as half of what else the server does
for a small answer (docs/benchmarks.md).
"""

import asyncio
from typing import Any, Final

HELD_BYTES_MAX: Final = 1 << 16


class JoinedWrites:
    """Stands before `transport`; whatever but writing is that one's own."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Send it in this turn of the loop, with what else is written; much of it at once."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES_MAX:
            self._send()

    def close(self) -> None:
        """Close the transport once all is sent."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))
