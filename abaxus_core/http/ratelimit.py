"""How many requests a key may make in a minute: counted in this process, in memory.

Windows are fixed and start with a key's first request. With n API processes a key gets up to n
times the limit: the bound protects a process, it is not a quota to be billed, and a shared count
would cost a round trip per request.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

WINDOW_NS = 60 * 1_000_000_000
SECOND_NS = 1_000_000_000
# Only keys that were let in are counted, so this is far above what there is.
KEYS_MAX = 10_000


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to a key. `reset_s`: whole seconds until the next window."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


@dataclass(slots=True)
class _Window:
    ends_ns: int
    count: int = 0


class RateLimiter:
    """One per process; `monotonic_ns` is a clock that never goes back."""

    def __init__(self, limit_per_minute: int, monotonic_ns: Callable[[], int]) -> None:
        self._limit = limit_per_minute
        self._monotonic_ns = monotonic_ns
        self._windows: dict[str, _Window] = {}

    def take(self, key_id: str) -> Allowance | None:
        """Count one request of the key; None when there is no limit."""
        if self._limit == 0:
            return None
        now_ns = self._monotonic_ns()
        window = self._windows.get(key_id)
        if window is None or now_ns >= window.ends_ns:
            window = self._open(key_id, now_ns)
        window.count += 1
        return Allowance(
            allowed=window.count <= self._limit,
            limit=self._limit,
            remaining=max(0, self._limit - window.count),
            reset_s=-(-(window.ends_ns - now_ns) // SECOND_NS),
        )

    def _open(self, key_id: str, now_ns: int) -> _Window:
        if len(self._windows) >= KEYS_MAX:
            self._windows = {
                each: window for each, window in self._windows.items() if window.ends_ns > now_ns
            }
        window = self._windows[key_id] = _Window(now_ns + WINDOW_NS)
        return window
