"""Callers and workers who do not give up: what breaks off is asked for, or done, again."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import httpx

from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from tests.support.wire import Fault, Wire

T = TypeVar("T")

ATTEMPTS_MAX = 1_000
PAUSE_MS = 5


@dataclass(frozen=True, slots=True)
class Persistent:
    """`client` asks of a product that reaches its database over `wire`."""

    client: httpx.AsyncClient
    wire: Wire

    async def ask(
        self,
        fault: Fault | None,
        path: str,
        body: Mapping[str, object],
        statuses: Collection[int],
    ) -> httpx.Response:
        """The answer, one of `statuses`, of a POST that the fault strikes the first time."""
        for _ in range(ATTEMPTS_MAX):
            answer = await self._struck(fault, lambda: self.client.post(path, json=body))
            if answer is not None and not _is_to_be_asked_again(answer):
                assert answer.status_code in statuses, answer.text
                return answer
            fault = None
            await asyncio.sleep(PAUSE_MS / 1000)
        raise AssertionError(f"{path} was never answered")

    async def work(self, fault: Fault | None, step: Callable[[], Awaitable[object]]) -> None:
        """Do a worker's step, which the fault strikes the first time."""

        async def done() -> bool:
            await step()
            return True

        for _ in range(ATTEMPTS_MAX):
            with suppress(*CONNECTION_FAULTS):
                if await self._struck(fault, done):
                    return
            fault = None
            await asyncio.sleep(PAUSE_MS / 1000)
        raise AssertionError("a worker's step was never done")

    async def _struck(self, fault: Fault | None, step: Callable[[], Awaitable[T]]) -> T | None:
        """What the step answers; None where it was cancelled."""
        task = asyncio.ensure_future(step())
        with self.wire.faulty(fault, task.cancel), suppress(asyncio.CancelledError):
            return await task
        return None


def _is_to_be_asked_again(answer: httpx.Response) -> bool:
    """No answer of the product's, or the first request still runs."""
    if answer.status_code == 503:
        return True
    return answer.status_code == 409 and answer.json()["error"]["code"] == "REQUEST_IN_PROGRESS"
