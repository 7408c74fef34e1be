import asyncio

from abaxus_core.kernel.queue_attempt import Attempt, TimedOut


async def test_interruption_that_the_handler_swallows_leaves_its_runner_whole() -> None:
    async def run() -> str:
        attempt = Attempt(None)  # type: ignore[arg-type]
        asyncio.get_running_loop().call_soon(attempt.interrupt, TimedOut())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            attempt.end()
        attempt.interrupt(TimedOut())
        await asyncio.sleep(0)
        task = asyncio.current_task()
        return "whole" if task is not None and task.cancelling() == 0 else "cancelled"

    assert await asyncio.create_task(run()) == "whole"
