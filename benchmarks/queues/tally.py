"""What every queue's worker process does alike: count its jobs, each exactly once, and time them.

`python -m benchmarks.queues.NAME DSN WARM_UP JOBS` enqueues WARM_UP + JOBS jobs, runs them with
one worker, and prints how many jobs a second ran after the first WARM_UP. Connecting, compiling
and the first fetches so count for nobody.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter_ns

import msgspec

SECOND_NS = 1_000_000_000
BATCH = 1_000


class Payload(msgspec.Struct, frozen=True):
    """Some fifty bytes of JSON."""

    number: int
    note: str = "what is in a job of usual size"


class Tally:
    """How often each of the jobs 0 … warm_up + jobs - 1 has run, and since when."""

    def __init__(self, warm_up: int, jobs: int) -> None:
        self.total = warm_up + jobs
        self.all_ran = asyncio.Event()
        self._warm_up = warm_up
        self._runs = bytearray(self.total)
        self._count = 0
        self._started_ns = self._ended_ns = 0

    def ran(self, number: int) -> None:
        self._runs[number] += 1
        self._count += 1
        if self._count == self._warm_up:
            self._started_ns = perf_counter_ns()
        elif self._count == self.total:
            self._ended_ns = perf_counter_ns()
            self.all_ran.set()

    def rate(self, left: int) -> int:
        """Jobs per second; `left` is how many the queue still holds."""
        assert self._runs.count(1) == self.total == self._count, "each job runs exactly once"
        assert left == 0, f"{left} jobs are left"
        return (self.total - self._warm_up) * SECOND_NS // (self._ended_ns - self._started_ns)


def payloads(total: int) -> list[Payload]:
    return [Payload(number) for number in range(total)]


def main(
    measure: Callable[[str, Tally], Awaitable[int]],
    run: Callable[[Awaitable[int]], int] = asyncio.run,
) -> None:
    """Print what `measure(dsn, tally)` returns: the rate. `run` is the loop it is used with."""
    dsn, warm_up, jobs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    async def measured() -> int:
        return await measure(dsn, Tally(warm_up, jobs))

    print(run(measured()))
