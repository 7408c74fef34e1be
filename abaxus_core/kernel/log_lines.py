"""Ready lines by the thousand: kept for a moment and written together.

One write for each would cost more than making it. What is kept is written when the process ends,
however it ends; but for a SIGKILL, which takes the last moment's lines with it.
"""

import asyncio
import weakref
from typing import BinaryIO, Final

KEPT_MS: Final = 20
LINES_MAX: Final = 1_000


class LogLines:
    """Whole lines to one file; to be used in a running event loop."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        weakref.finalize(self, _write, file, self._lines)  # at the end of the process, too

    def write(self, line: bytes) -> None:
        """Write the line, KEPT_MS from now at the latest."""
        if not self._lines:
            asyncio.get_running_loop().call_later(KEPT_MS / 1_000, self.flush)
        self._lines.append(line)
        if len(self._lines) >= LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        _write(self._file, self._lines)


def _write(file: BinaryIO, lines: list[bytes]) -> None:
    if lines:
        file.write(b"\n".join(lines) + b"\n")
        lines.clear()
        file.flush()
