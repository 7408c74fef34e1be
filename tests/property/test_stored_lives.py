"""Whatever becomes of subscriptions on a real database, and whatever breaks off in between, all
lines ever issued add up to one rating of all events.
"""

import os
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.property.stage import Stage, staged
from tests.property.stored_history import StoredHistory
from tests.property.stored_lives import StoredPlan, Turn, stored_plans
from tests.support.postgres import Cluster

# One on a database for twelve on the domain alone.
HISTORIES = int(os.environ.get("ABAXUS_TEST_HISTORIES", "2000")) // 12

AT_ONCE_MAX = 5


@pytest.fixture(scope="module")
async def stage(cluster: Cluster) -> AsyncIterator[Stage]:
    async with staged(cluster) as stage:
        yield stage


@settings(max_examples=HISTORIES)
@given(stored_plans)
async def test_all_lines_are_one_rating_whatever_breaks_off(stage: Stage, plan: StoredPlan) -> None:
    note(f"{plan.start_at} {plan.lead} {plan.customers} {plan.subscriptions}")
    history = StoredHistory(stage, plan)
    await history.begin()
    for turn in plan.turns:
        note(f"{stage.clock.now} {turn}")
        await history.play(turn)
    await history.end()


@settings(max_examples=HISTORIES // 3)
@given(stored_plans, st.integers(2, AT_ONCE_MAX))
async def test_all_lines_are_one_rating_whatever_happens_at_once(
    stage: Stage, plan: StoredPlan, at_once: int
) -> None:
    note(f"{plan.start_at} {plan.lead} {plan.customers} {plan.subscriptions}")
    history = StoredHistory(stage, plan, alone=False)
    await history.begin()
    for place in range(0, len(plan.turns), at_once):
        turns = [without_fault(turn) for turn in plan.turns[place : place + at_once]]
        note(f"{stage.clock.now} {turns}")
        await history.play_at_once(turns)
    await history.end()


def without_fault(turn: Turn) -> Turn:
    """A fault would strike anyone."""
    return msgspec.structs.replace(turn, fault=None)
