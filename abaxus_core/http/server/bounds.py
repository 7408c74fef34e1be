"""What no caller gets more of, whichever server listens."""

from typing import Final

BACKLOG: Final = 1_024
# Longer than the usual idle time of load balancers, which must be the first to hang up.
KEEP_ALIVE_TIMEOUT_S: Final = 75
GRACEFUL_TIMEOUT_S: Final = 3
# A request's first line and headers, and what a server keeps of a body's trailers.
HEAD_SIZE_MAX: Final = 16 << 10
