"""One run of a handler, and how it is interrupted."""

import asyncio
import time
from datetime import timedelta

from abaxus_core.kernel.queue_claims import Claim

_MICROSECOND_NS = 1_000


class LeaseLost(Exception):
    """Somebody else has the job now; it is no longer ours to settle."""


class WorkerStops(Exception):
    """The drain's time is up; the job goes back, unspent."""


class TimedOut(Exception):
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
