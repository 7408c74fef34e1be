"""Turns: long work lets others run in between, and loses nothing."""

import asyncio

from abaxus_core.kernel.turns import ITEMS_A_TURN, in_turns

ITEMS = range(3 * ITEMS_A_TURN + 1)


async def test_others_run_between_turns():
    turns_of_others = 0

    async def other() -> None:
        nonlocal turns_of_others
        while True:
            turns_of_others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    found = [item async for item in in_turns(ITEMS)]
    task.cancel()
    assert found == list(ITEMS)
    assert turns_of_others == len(ITEMS) // ITEMS_A_TURN


async def test_nothing_is_nothing():
    assert [item async for item in in_turns(())] == []
