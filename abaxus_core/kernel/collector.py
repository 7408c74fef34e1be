"""How often Python looks for cycles: rarely, since a request leaves none, and each look walks
through what caches hold. A check of an entitlement costs a fifth less so (docs/benchmarks.md).
"""

import gc
from typing import Final

# Allocations beyond what was freed, and how many looks make one into older objects.
YOUNG_MAX: Final = 20_000
LOOKS_PER_OLDER: Final = 20
LOOKS_PER_OLDEST: Final = 50


def look_rarely() -> None:
    """From now on in this process; what is loaded already is never looked through again."""
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, LOOKS_PER_OLDER, LOOKS_PER_OLDEST)
