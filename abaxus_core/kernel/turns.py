"""Long work in turns, so that whoever else runs on the event loop is not kept waiting for it.

A transaction that holds a lock which others wait for goes on within a turn of theirs, and so do
leases and landings.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

ITEMS_A_TURN = 16


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and let others run after every ITEMS_A_TURN of them."""
    for place, item in enumerate(items, start=1):
        yield item
        if place % ITEMS_A_TURN == 0:
            await asyncio.sleep(0)
