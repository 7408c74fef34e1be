"""Which misses are worth a fill: those of customers who will be asked for again before it ends.

A fill costs more than a read of PostgreSQL (docs/benchmarks.md). So a process that misses few fills
them all; while it misses many, it fills for whoever it has missed lately before.
"""

import time
from collections.abc import Callable
from typing import Final

FILLS_AT_FIRST_MAX: Final = 64
REMEMBERED_MAX: Final = 20_000


class Worth:
    """One mode's. "Lately" is the present stretch of a TTL, and the one before."""

    def __init__(self, ttl_ns: int, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._ttl_ns = ttl_ns
        self._monotonic_ns = monotonic_ns
        self._began_ns = monotonic_ns()
        self._fills = 0
        self._missed: set[str] = set()
        self._missed_before: set[str] = set()

    def missed(self, customer_id: str) -> bool:
        """Note the miss; whether it is worth a fill."""
        self._turn()
        again = customer_id in self._missed or customer_id in self._missed_before
        if len(self._missed) < REMEMBERED_MAX:
            self._missed.add(customer_id)
        if again:
            return True
        self._fills += 1
        return self._fills <= FILLS_AT_FIRST_MAX

    def _turn(self) -> None:
        now_ns = self._monotonic_ns()
        passed_ns = now_ns - self._began_ns
        if passed_ns < self._ttl_ns:
            return
        self._missed_before = self._missed if passed_ns < 2 * self._ttl_ns else set()
        self._missed = set()
        self._began_ns, self._fills = now_ns, 0
