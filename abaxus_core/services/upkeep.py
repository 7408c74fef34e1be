"""Forgetting what was promised to be kept for a while only: answers, calculations."""

from collections.abc import Awaitable, Callable
from typing import Final

from abaxus_core.services import calculations, idempotency
from abaxus_core.services.work import SYSTEM, Context, Work, perform

ROUNDS_MAX: Final = 1_000


async def prune(context: Context) -> None:
    """Forget what is old enough, in transactions of some thousands of rows each."""
    for forget in (idempotency.prune, calculations.prune):
        await _until_none_left(context, forget)


async def _until_none_left(context: Context, forget: Callable[[Work], Awaitable[int]]) -> None:
    for _ in range(ROUNDS_MAX):
        if await perform(context, SYSTEM, forget) == 0:
            return
