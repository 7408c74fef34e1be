import asyncio
import os
import signal

import pytest

from abaxus_core.kernel.lifecycle import Service, run_services, stop_on_signals


def recording(name: str, log: list[str]) -> Service:
    async def run(stop: asyncio.Event) -> None:
        log.append(f"{name} runs")
        await stop.wait()
        log.append(f"{name} stops")

    return Service(name=name, run=run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_stops_services_last_first(number: signal.Signals) -> None:
    log: list[str] = []
    async with stop_on_signals() as stop:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        await run_services([recording("a", log), recording("b", log)], stop, drain_timeout_s=5)
    assert log == ["a runs", "b runs", "b stops", "a stops"]


async def test_failure_of_one_stops_the_others_and_is_raised() -> None:
    log: list[str] = []

    async def fail(_stop: asyncio.Event) -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    services = [recording("a", log), Service(name="b", run=fail)]
    with pytest.raises(ValueError, match="broken"):
        await run_services(services, asyncio.Event(), drain_timeout_s=5)
    assert log == ["a runs", "a stops"]


async def test_ending_without_being_told_is_a_failure() -> None:
    async def end(_stop: asyncio.Event) -> None:
        return

    with pytest.raises(RuntimeError, match="b ended by itself"):
        await run_services([Service(name="b", run=end)], asyncio.Event(), drain_timeout_s=5)


async def test_what_does_not_drain_in_time_is_cancelled() -> None:
    log: list[str] = []

    async def linger(stop: asyncio.Event) -> None:
        await stop.wait()
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cut short")

    stop = asyncio.Event()
    stop.set()
    services = [recording("a", log), Service(name="b", run=linger)]
    await run_services(services, stop, drain_timeout_s=0)
    assert "cut short" in log
