"""The line that each answered request leaves in the log.

As JSON it goes straight from its fields to bytes: through structlog, as all other lines do, it
would cost as much as everything else that the edge does for a small request.
"""

import sys
from datetime import datetime
from typing import Final

import msgspec
import structlog

from abaxus_core.http.dispatch import Seen
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.config import LogSettings
from abaxus_core.kernel.log_lines import LogLines

EVENT: Final = "request"
SAID: Final = ("method", "path", "status", "code", "key_id", "took_us")

_encode: Final = msgspec.json.Encoder().encode
_log = structlog.get_logger("abaxus.http")


class RequestLog:
    """One per process, in the form and from the level on that kernel/log.py was told."""

    def __init__(self, settings: LogSettings, clock: Clock) -> None:
        straight = settings.log_format == "json" and settings.log_level in ("debug", "info")
        self._lines = LogLines(sys.stderr.buffer) if straight else None
        self._clock = clock

    def answered(self, seen: Seen, path: str, status: int, took_us: int) -> None:
        """Log the request. `path` is without the query."""
        line = _Line(
            method=seen.method,
            path=path,
            status=status,
            code=seen.code,
            key_id=seen.key_id,
            took_us=took_us,
            timestamp=self._clock(),
            request_id=seen.request_id,
        )
        if self._lines is None:
            _log.info(EVENT, **{name: getattr(line, name) for name in SAID})
        else:
            self._lines.write(_encode(line))


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """SAID, and what structlog adds to a line of its own."""

    event: str = EVENT
    level: str = "info"
    timestamp: datetime
    request_id: str
    method: str
    path: str
    status: int
    code: str | None
    key_id: str
    took_us: int
