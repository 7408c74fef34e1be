"""How much time has passed, whatever the clock on the wall is set to meanwhile."""

import time
from typing import Final

NS_PER_MS: Final = 1_000_000

# Where a system has no such clock, its monotonic one goes on through sleep as well.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_ns() -> int:
    """Nanoseconds since some moment. They pass while the process, or the machine, sleeps."""
    return time.clock_gettime_ns(_CLOCK)
