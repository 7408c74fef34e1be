"""One run of a handler: how it is interrupted, and what becomes of the job when it fails."""

import asyncio
import secrets
import time
import traceback
from datetime import timedelta

from abaxus_core.errors import AbaxusError
from abaxus_core.kernel.queue_claims import Claim

RETRY_DELAY_MIN_MS = 1_000
RETRY_DELAY_MAX_MS = 3_600_000
ERROR_LENGTH_MAX = 2_000
_DOUBLINGS_MAX = 30
_MICROSECOND_NS = 1_000


class LeaseLost(Exception):  # noqa: N818 - why a handler was interrupted
    """Somebody else has the job now; it is no longer ours to settle."""


class WorkerStops(Exception):  # noqa: N818 - why a handler was interrupted
    """The drain's time is up; the job goes back, unspent."""


class TimedOut(Exception):  # noqa: N818 - why a handler was interrupted
    """The kind's timeout is up; an attempt that failed."""


class Attempt:
    """A claim whose handler runs in the current task."""

    __slots__ = ("_runner", "claim", "interruption", "started_ns")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.interruption: Exception | None = None
        self.started_ns = time.monotonic_ns()
        self._runner = asyncio.current_task()

    @property
    def age(self) -> timedelta:
        return timedelta(microseconds=(time.monotonic_ns() - self.started_ns) // _MICROSECOND_NS)

    def interrupt(self, why: Exception) -> None:
        """Cancel the handler, once; nothing happens when it has already ended."""
        if self.interruption is None and self._runner is not None:
            self.interruption = why
            self._runner.cancel()

    def end(self) -> None:
        """The handler has ended: from here on nothing interrupts its runner."""
        if self.interruption is not None and self._runner is not None:
            self._runner.uncancel()
        self._runner = None


def retry_delay(attempt: int) -> timedelta:
    """How long to wait after a failed attempt, counted from 1: 1 s, 2 s, 4 s, to an hour.

    A quarter more or less at random, so that what failed together does not come back together.
    """
    middle = min(RETRY_DELAY_MIN_MS << min(attempt - 1, _DOUBLINGS_MAX), RETRY_DELAY_MAX_MS)
    return timedelta(milliseconds=middle - middle // 4 + secrets.randbelow(middle // 2 + 1))


def describe(fault: Exception) -> str:
    """What is kept on the job: our own errors by their message, others with where they arose."""
    if isinstance(fault, AbaxusError):
        return f"{fault.code}: {fault.message}"[:ERROR_LENGTH_MAX]
    text = "".join(traceback.format_exception(fault)) if fault.__traceback__ else str(fault)
    return text.replace("\0", "")[-ERROR_LENGTH_MAX:]
