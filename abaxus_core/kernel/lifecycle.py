"""Start, run until told to stop, drain, stop: the life of a process's long-lived parts.

What a part does is its own business; what it was built from is closed by whoever built it.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import structlog

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CANCEL_TIMEOUT_S = 1

_NANOSECONDS = 1_000_000_000
_log = structlog.get_logger("abaxus.lifecycle")


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A long-lived part: `run` works until the event it gets is set, then drains and returns."""

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets. A second signal acts as it would without us."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        _log.info("stop.requested", signal=number.name)
        stop.set()
        _give_up(loop)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        _give_up(loop)


async def run_services(
    services: Sequence[Service], stop: asyncio.Event, *, drain_timeout_s: int
) -> None:
    """Run all until `stop` is set or one ends; then stop them, the last first.

    All together have `drain_timeout_s` to drain, after which they are cancelled. Raises what made
    a service end early; ending early without an error is one too.
    """
    stops = [asyncio.Event() for _ in services]
    tasks = [
        asyncio.create_task(_run(service, its_stop), name=service.name)
        for service, its_stop in zip(services, stops, strict=True)
    ]
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        await _stop_in_reverse(tasks, stops, time.monotonic_ns() + drain_timeout_s * _NANOSECONDS)
    _raise_first_failure(tasks)


async def _run(service: Service, stop: asyncio.Event) -> None:
    await service.run(stop)
    if not stop.is_set():
        raise RuntimeError(f"{service.name} ended by itself")


async def _stop_in_reverse(
    tasks: Sequence["asyncio.Task[None]"], stops: Sequence[asyncio.Event], deadline_ns: int
) -> None:
    for task, stop in zip(reversed(tasks), reversed(stops), strict=True):
        stop.set()
        left_ns = max(0, deadline_ns - time.monotonic_ns())
        await asyncio.wait([task], timeout=left_ns / _NANOSECONDS)
        if not task.done():
            _log.warning("service.cut_short", service=task.get_name())
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_TIMEOUT_S)


def _raise_first_failure(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
            raise failure


def _give_up(loop: asyncio.AbstractEventLoop) -> None:
    for number in STOP_SIGNALS:
        loop.remove_signal_handler(number)
