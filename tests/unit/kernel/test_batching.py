"""Batching: alone at once, together under load, and nobody hurt by a neighbour."""

import asyncio
from collections.abc import Sequence

import pytest

from abaxus_core.kernel.batching import TURNS_MAX, Batcher, Full
from tests.support.waiting import WAIT_MAX_S, soon


class Gated:
    """A run that waits at a gate and fails on a negative item; `runs` is what it was given."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.together = 0

    async def __call__(self, items: Sequence[int]) -> list[str]:
        assert self.together == 0, "one run at a time"
        self.together += 1
        try:
            self.runs.append(list(items))
            self.begun.set()
            await soon(self.gate)
        finally:
            self.together -= 1
        if min(items) < 0:
            raise ValueError(f"refused {min(items)}")
        return [f"did {item}" for item in items]

    def batcher(self, *, size_max: int = 100, waiting_max: int = 100) -> Batcher[int, str]:
        return Batcher(self, size_max=size_max, waiting_max=waiting_max)


class Cut(Gated):
    """One that is cancelled when it does 0."""

    async def __call__(self, items: Sequence[int]) -> list[str]:
        results = await super().__call__(items)
        if 0 in items:
            raise asyncio.CancelledError
        return results


async def _one_by_one(batcher: Batcher[int, str], count: int) -> None:
    """Submit so many, one in each turn of the loop, and wait for all."""
    submitted = []
    for item in range(count):
        submitted.append(asyncio.create_task(batcher.submit(item)))
        await asyncio.sleep(0)
    await asyncio.gather(*submitted)


async def _settle() -> None:
    """Let every task go as far as it can without the gate."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_the_loop_brings_turn_by_turn_comes_along() -> None:
    run = Gated()
    run.gate.set()
    await _one_by_one(run.batcher(), 10)
    assert run.runs == [list(range(10))]


async def test_nobody_waits_long_for_company() -> None:
    run = Gated()
    run.gate.set()
    await _one_by_one(run.batcher(), 3 * TURNS_MAX)
    assert [item for each in run.runs for item in each] == list(range(3 * TURNS_MAX))
    assert len(run.runs[0]) <= TURNS_MAX + 1


async def test_a_lone_item_runs_at_once() -> None:
    run = Gated()
    run.gate.set()
    batcher = run.batcher()
    assert await batcher.submit(1) == "did 1"
    assert await batcher.submit(2) == "did 2"
    assert run.runs == [[1], [2]]


async def test_what_arrives_during_a_run_goes_into_the_next_one() -> None:
    run = Gated()
    batcher = run.batcher()
    first = asyncio.create_task(batcher.submit(0))
    await soon(run.begun)
    others = [asyncio.create_task(batcher.submit(number)) for number in range(1, 6)]
    await _settle()
    assert run.runs == [[0]]
    run.gate.set()
    assert await asyncio.gather(first, *others) == [f"did {number}" for number in range(6)]
    assert run.runs == [[0], [1, 2, 3, 4, 5]]


async def test_runs_are_bounded_and_in_order() -> None:
    run = Gated()
    batcher = run.batcher(size_max=3)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in range(8)]
    run.gate.set()
    assert await asyncio.gather(*tasks) == [f"did {number}" for number in range(8)]
    assert run.runs == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_more_than_may_wait_are_turned_away_and_later_taken() -> None:
    run = Gated()
    batcher = run.batcher(waiting_max=2)
    running = asyncio.create_task(batcher.submit(0))
    await soon(run.begun)
    waiting = [asyncio.create_task(batcher.submit(number)) for number in (1, 2)]
    await _settle()
    with pytest.raises(Full):
        await batcher.submit(3)
    run.gate.set()
    await asyncio.gather(running, *waiting)
    assert await batcher.submit(4) == "did 4"
    assert [3] not in run.runs


async def test_a_run_that_fails_reaches_all_of_its_batch_and_no_other() -> None:
    run = Gated()
    batcher = run.batcher(size_max=2)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in (1, -1, 2, 3)]
    run.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(each) for each in results] == ["refused -1", "refused -1", "did 2", "did 3"]
    assert isinstance(results[0], ValueError)
    assert await batcher.submit(4) == "did 4"


async def test_a_caller_that_gives_up_hurts_nobody() -> None:
    run = Gated()
    batcher = run.batcher()
    running = asyncio.create_task(batcher.submit(0))
    await soon(run.begun)
    leaving, staying = (asyncio.create_task(batcher.submit(number)) for number in (1, 2))
    await _settle()
    leaving.cancel()
    running.cancel()
    await asyncio.wait([leaving, running])
    run.gate.set()
    assert await staying == "did 2"
    assert leaving.cancelled()
    assert running.cancelled()


async def test_all_callers_give_up_and_the_next_is_served() -> None:
    run = Gated()
    batcher = run.batcher()
    tasks = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
    await soon(run.begun)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    run.gate.set()
    assert await batcher.submit(9) == "did 9"


async def test_a_run_that_is_cancelled_tells_those_who_wait_for_it() -> None:
    """As happens when the loop is torn down while the run waits for the database."""
    run = Cut()
    batcher = run.batcher(size_max=2)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in range(2)]
    await soon(run.begun)
    run.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [ConnectionError, ConnectionError]
    assert await batcher.submit(5) == "did 5"


async def test_those_who_wait_behind_a_cancelled_run_are_told_too() -> None:
    run = Cut()
    batcher = run.batcher()
    first = asyncio.create_task(batcher.submit(0))
    await soon(run.begun)
    behind = asyncio.create_task(batcher.submit(1))
    await _settle()
    run.gate.set()
    async with asyncio.timeout(WAIT_MAX_S):
        results = await asyncio.gather(first, behind, return_exceptions=True)
    assert [type(each) for each in results] == [ConnectionError, ConnectionError]


async def test_a_run_that_answers_too_few_fails_all_of_its_batch() -> None:
    async def run(items: Sequence[int]) -> list[int]:
        return list(items)[1:]

    batcher: Batcher[int, int] = Batcher(run, size_max=10, waiting_max=10)
    async with asyncio.timeout(WAIT_MAX_S):
        results = await asyncio.gather(
            *(batcher.submit(number) for number in range(3)), return_exceptions=True
        )
    assert [type(each) for each in results] == [ValueError] * 3
