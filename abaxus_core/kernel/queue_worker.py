"""The job queue, seen from who does the work: claims batches, runs handlers, settles.

One statement completes what is done and leases what comes next. A fixed number of runners take
jobs from a small buffer, whose size follows the rate at which jobs finish, so that slow ones are
not hoarded and fast ones do not wait for the database. A lease keeps two workers off one job while
both are healthy; what must never happen twice is up to the constraints of what the handlers write.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.log import job_id as current_job_id
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.kernel.queue import TOPIC, Handler, Job, Schedule
from abaxus_core.kernel.queue_attempt import Attempt, LeaseLost, TimedOut, WorkerStops
from abaxus_core.kernel.queue_claims import Claim, Claims
from abaxus_core.kernel.queue_outcome import settle_fault
from abaxus_core.kernel.queue_upkeep import keep_up

BUFFER_MS = 100
YIELD_EVERY = 8
IDLE_MIN_MS = 20
DATABASE_RETRY_DELAY_MS = 500
SETTLE_TIMEOUT_S = 1

_log = structlog.get_logger("abaxus.queue")


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`concurrency`: handlers at once. `batch_max`: jobs leased by one statement. `poll`: how long
    an idle worker trusts notifications. `drain`: how long handlers may go on after a stop."""

    concurrency: int = 8
    batch_max: int = 1_000
    lease: timedelta = timedelta(seconds=30)
    poll: timedelta = timedelta(seconds=5)
    upkeep: timedelta = timedelta(seconds=1)
    drain: timedelta = timedelta(seconds=3)


class QueueWorker:
    """Runs the jobs of one mode; any number may run, in any number of processes.

    `clock`, where given, may only run ahead of the database's: tests move time with it.
    """

    def __init__(
        self,
        database: Database,
        handlers: Sequence[Handler[Any]],
        *,
        schedules: Sequence[Schedule[Any]] = (),
        settings: WorkerSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._settings = settings or WorkerSettings()
        self._schedules = schedules
        self._clock = clock
        self._handlers = _by_kind(handlers)
        self._decoders = {h.kind.name: msgspec.json.Decoder(h.kind.payload) for h in handlers}
        self._claims = Claims(
            database, list(self._handlers), lease=self._settings.lease, clock=clock
        )
        self._ready: deque[Claim] = deque()
        self._running: dict[Claim, Attempt] = {}
        self._done: list[Claim] = []
        self._pace = _Pace()
        self._something = asyncio.Event()
        self._more = asyncio.Event()
        self._low = asyncio.Event()
        self._low_water = 0
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain: finish or give back, within `drain` and a little.

        Raises only what is a bug of ours; a lost database is waited for.
        """
        listener, channel = self._database.listener, self._database.channel(TOPIC)
        listener.subscribe(channel, self._wake)
        pump = asyncio.create_task(self._pump(), name="queue-pump")
        keepers = [
            asyncio.create_task(self._keep_leases(), name="queue-leases"),
            asyncio.create_task(self._keep_house(), name="queue-upkeep"),
        ]
        runners = [
            asyncio.create_task(self._run_jobs(), name=f"queue-runner-{number}")
            for number in range(self._settings.concurrency)
        ]
        tasks = [pump, *keepers, *runners]
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            listener.unsubscribe(channel, self._wake)
            await self._drain(pump, runners)
            await _cancel_all(tasks)
        _raise_first_failure(tasks)

    def _wake(self, _payload: str) -> None:
        self._something.set()

    async def _pump(self) -> None:
        while not self._stopping:
            self._something.clear()
            if await self._exchange():
                await self._until_low()
            else:
                await self._rest()

    async def _exchange(self) -> bool:
        """Hand in what is done, fetch what there is room for; True if there may be more."""
        capacity = self._capacity()
        room = max(0, min(capacity - len(self._ready), self._settings.batch_max))
        if not (room or self._done):
            return False
        self._low_water = capacity // 2
        done, self._done = self._done, []
        self._pace.measure()
        try:
            claimed = await self._claims.settle_and_claim(done, room)
        except CONNECTION_FAULTS as error:
            _log.warning("queue.database_lost", error=type(error).__name__)
            self._done += done
            await asyncio.sleep(DATABASE_RETRY_DELAY_MS / 1000)
            return False
        self._ready.extend(claimed)
        self._more.set()
        return len(claimed) == room > 0

    async def _until_low(self) -> None:
        """Wait until the buffer is half empty, so that one half comes while the other runs; at most
        BUFFER_MS, because what is done is settled only then."""
        self._low.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(BUFFER_MS / 1000):
                while len(self._ready) > self._low_water and not self._stopping:
                    await self._low.wait()

    async def _rest(self) -> None:
        """Wait until a job ends, one is enqueued, one falls due, or `poll` has passed."""
        wait = self._settings.poll
        if self._capacity() > len(self._ready) and not self._something.is_set():
            wait = min(wait, await self._until_due())
        wait = max(wait, timedelta(milliseconds=IDLE_MIN_MS))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait.total_seconds()):
                await self._something.wait()

    async def _until_due(self) -> timedelta:
        try:
            until_due = await self._claims.next_due()
        except CONNECTION_FAULTS:
            return self._settings.poll
        return self._settings.poll if until_due is None else until_due

    def _capacity(self) -> int:
        """How many jobs may be ready: for the idle runners, and what they finish in BUFFER_MS; two
        batches at most, one to run while the other is fetched."""
        idle = self._settings.concurrency - len(self._running)
        buffer = self._pace.jobs_per_second * BUFFER_MS // 1000
        return min(idle + buffer, 2 * self._settings.batch_max)

    async def _run_jobs(self) -> None:
        while not self._stopping:
            if not self._ready:
                self._more.clear()
                await self._more.wait()
            else:
                await self._attempt(self._ready.popleft())
                if len(self._ready) <= self._low_water:
                    self._low.set()
                if self._pace.finished % YIELD_EVERY == 0:
                    await asyncio.sleep(0)

    async def _attempt(self, claim: Claim) -> None:
        if claim.expired:
            return
        attempt = Attempt(claim)
        self._running[claim] = attempt
        try:
            fault = await self._handle(attempt)
            if fault is None:
                self._done.append(claim)
            else:
                await self._settle_fault(claim, fault)
        finally:
            del self._running[claim]
            self._pace.finished += 1
            self._something.set()

    async def _handle(self, attempt: Attempt) -> Exception | None:
        """Run the handler; what it raised, or why it was interrupted."""
        record = attempt.claim.record
        token = current_job_id.set(record["job_id"])
        try:
            job = Job(
                job_id=record["job_id"],
                attempt=record["attempt"],
                attempts_max=record["attempts_max"],
                payload=self._decoders[record["kind"]].decode(record["payload"]),
            )
            await self._handlers[record["kind"]].run(job)
        except asyncio.CancelledError:
            if attempt.interruption is None:
                raise
            return attempt.interruption
        except Exception as error:  # noqa: BLE001 - the edge: whatever a handler raises is the job's
            return error
        finally:
            attempt.end()
            current_job_id.reset(token)
        return None

    async def _settle_fault(self, claim: Claim, fault: Exception) -> None:
        try:
            await settle_fault(self._claims, claim, fault)
        except CONNECTION_FAULTS as error:
            # The lease runs out by itself, and the job comes back then.
            _log.warning("queue.database_lost", error=type(error).__name__)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease.total_seconds() / 3)
            held = [*self._ready, *self._running]
            if held:
                await self._renew(held)
            for attempt in tuple(self._running.values()):
                self._interrupt_overdue(attempt)

    async def _renew(self, held: Sequence[Claim]) -> None:
        try:
            lost = await self._claims.renew(held)
        except CONNECTION_FAULTS as error:
            _log.warning("queue.database_lost", error=type(error).__name__)
            return
        for claim in lost:
            if claim in self._ready:
                self._ready.remove(claim)
            elif claim in self._running:
                self._running[claim].interrupt(LeaseLost())

    def _interrupt_overdue(self, attempt: Attempt) -> None:
        kind = self._handlers[attempt.claim.record["kind"]].kind
        if attempt.claim.expired:
            attempt.interrupt(LeaseLost())
        elif attempt.age > kind.timeout:
            attempt.interrupt(TimedOut(f"took longer than {kind.timeout}"))

    async def _keep_house(self) -> None:
        while True:
            try:
                async with self._database.connection() as conn:
                    made_due = await keep_up(conn, self._schedules, self._clock)
            except CONNECTION_FAULTS as error:
                _log.warning("queue.database_lost", error=type(error).__name__)
            else:
                if made_due:
                    self._database.wake(TOPIC)
            await asyncio.sleep(self._settings.upkeep.total_seconds())

    async def _drain(self, pump: asyncio.Task[None], runners: list[asyncio.Task[None]]) -> None:
        self._stopping = True
        self._something.set()
        self._more.set()
        self._low.set()
        deadline = time.monotonic_ns() + self._settings.drain // timedelta(microseconds=1) * 1000
        await asyncio.wait([pump], timeout=_until(deadline).total_seconds())
        await self._settle_in_time(self._give_back_ready())
        await asyncio.wait(runners, timeout=_until(deadline).total_seconds())
        for attempt in tuple(self._running.values()):
            attempt.interrupt(WorkerStops())
        await asyncio.wait(runners, timeout=SETTLE_TIMEOUT_S)
        await self._settle_in_time(self._claims.settle(self._done))
        self._database.wake(TOPIC)

    async def _give_back_ready(self) -> None:
        claims = list(self._ready)
        self._ready.clear()
        if claims:
            await self._claims.give_back_untouched(claims)

    async def _settle_in_time(self, settling: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await settling
        except CONNECTION_FAULTS as error:
            _log.warning("queue.database_lost", error=type(error).__name__)


class _Pace:
    """How many jobs end in a second, of late."""

    def __init__(self) -> None:
        self.finished = 0
        self.jobs_per_second = 0
        self._finished_before = 0
        self._measured_ns = time.monotonic_ns()

    def measure(self) -> None:
        now = time.monotonic_ns()
        jobs, elapsed_ns = self.finished - self._finished_before, now - self._measured_ns
        latest = jobs * 1_000_000_000 // max(elapsed_ns, 1)
        self.jobs_per_second = (self.jobs_per_second + latest) // 2
        self._finished_before, self._measured_ns = self.finished, now


def _by_kind(handlers: Sequence[Handler[Any]]) -> dict[str, Handler[Any]]:
    routes = {handler.kind.name: handler for handler in handlers}
    if len(routes) != len(handlers):
        raise ConfigurationError(["two handlers for one kind of job"])
    return routes


def _until(deadline_ns: int) -> timedelta:
    return timedelta(microseconds=max(0, deadline_ns - time.monotonic_ns()) // 1000)


async def _cancel_all(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=SETTLE_TIMEOUT_S)


def _raise_first_failure(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
            raise failure
