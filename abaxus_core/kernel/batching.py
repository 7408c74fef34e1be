"""Doing at once what many ask for one by one, without making anybody wait for company.

Self-clocking: what arrives while a run is on its way goes into the next one, which starts once that
one has returned and the loop brings nobody else. A lone item is run at once; under load the runs
grow (docs/benchmarks.md).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

TURNS_MAX: Final = 16

T = TypeVar("T")
R = TypeVar("R")


class Full(Exception):
    """More wait already than may."""


class Batcher(Generic[T, R]):
    """Runs items in batches of at most `size_max`, one batch at a time, while at most `waiting_max`
    wait. `run` answers one result per item, in order; what it raises reaches all of its batch."""

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        size_max: int,
        waiting_max: int,
    ) -> None:
        self._run = run
        self._size_max = size_max
        self._waiting_max = waiting_max
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """The result of `item`. Raises what its run raised, or Full."""
        if len(self._waiting) >= self._waiting_max:
            raise Full
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="batcher")
        return await answer

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._let_more_come()
                batch = self._waiting[: self._size_max]
                del self._waiting[: self._size_max]
                await self._answer(batch)
        finally:
            self._task = None
            left, self._waiting = self._waiting, []
            _tell(left, _interrupted())

    async def _let_more_come(self) -> None:
        """Wait a turn of the loop, and another while that brought more, for what is here already.

        A loop that has nothing else to do is back at once.
        """
        seen = 0
        for _ in range(TURNS_MAX):
            if not seen < len(self._waiting) < self._size_max:
                return
            seen = len(self._waiting)
            await asyncio.sleep(0)

    async def _answer(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
            answered = list(zip(batch, results, strict=True))
        except Exception as error:  # noqa: BLE001 - it reaches whoever waits
            _tell(batch, error)
            return
        except BaseException:
            _tell(batch, _interrupted())
            raise
        for (_, answer), result in answered:
            if not answer.done():
                answer.set_result(result)


def _tell(batch: Iterable[tuple[object, asyncio.Future[R]]], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)


def _interrupted() -> Exception:
    """What those who wait are told; that the run itself was cancelled is not theirs to be."""
    return ConnectionError("the batch was interrupted")
