"""Which misses are worth a fill: those of customers who will be asked for again before it ends.

A fill costs more than some checks by what the process has kept (docs/benchmarks.md). So a process
that misses few fills them all; while it misses many, it fills for whoever it misses time and again.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

FILLS_AT_FIRST_MAX: Final = 64
REMEMBERED_MAX: Final = 20_000
MISSES_OF_A_FILL: Final = 4


class Worth:
    """One mode's. "Lately" is the present stretch of a TTL, and the one before."""

    def __init__(self, ttl_ns: int, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._ttl_ns = ttl_ns
        self._monotonic_ns = monotonic_ns
        self._began_ns = monotonic_ns()
        self._fills = 0
        self._missed: Counter[str] = Counter()
        self._missed_before: Counter[str] = Counter()

    def missed(self, customer_id: str) -> bool:
        """Note the miss; whether it is worth a fill."""
        self._turn()
        if len(self._missed) < REMEMBERED_MAX:
            self._missed[customer_id] += 1
        misses = self._missed[customer_id] + self._missed_before[customer_id]
        if misses >= MISSES_OF_A_FILL:
            return True
        self._fills += 1
        return self._fills <= FILLS_AT_FIRST_MAX

    def _turn(self) -> None:
        now_ns = self._monotonic_ns()
        passed_ns = now_ns - self._began_ns
        if passed_ns < self._ttl_ns:
            return
        self._missed_before = self._missed if passed_ns < 2 * self._ttl_ns else Counter()
        self._missed = Counter()
        self._began_ns, self._fills = now_ns, 0
