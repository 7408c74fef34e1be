"""Ready lines by the thousand: written together, once in a turn of the event loop.

What a write costs is shared by all that a turn brings, and nothing waits longer than it. A loop
that ends has its last turn, so nothing is lost but by what ends a process on the spot.
"""

import asyncio
from typing import BinaryIO


class LogLines:
    """Whole lines to one file; to be used in a running event loop."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Write the line at the end of this turn."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(line)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._file.write(b"\n".join(lines) + b"\n")
        self._file.flush()
