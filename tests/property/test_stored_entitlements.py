"""Whatever becomes of subscriptions on a real database, what is stored of their entitlements says
what working them out from their lives and raw events says, at once and at every later instant.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from abaxus_core.domain.entitlement_documents import combined
from abaxus_core.domain.periods import period_at
from abaxus_core.services.entitlements import change_feed
from abaxus_core.services.entitlements.access import Asked, Snapshots
from abaxus_core.services.entitlements.kept_snapshots import KeptSnapshots
from abaxus_core.services.entitlements.stored import Stored
from abaxus_core.services.telemetry import Telemetry
from tests.property.lives import DAY, HOUR
from tests.property.stage import Stage, staged
from tests.property.stored_buyers import Buyer
from tests.property.stored_history import PEACE, StoredHistory
from tests.property.stored_lives import StoredPlan, stored_plans
from tests.property.test_stored_lives import without_fault
from tests.support.clock import FakeClock
from tests.support.granted import granted_to
from tests.support.postgres import Cluster

HISTORIES = int(os.environ.get("ABAXUS_TEST_HISTORIES", "2000")) // 160
LATER = (timedelta(), HOUR, 30 * HOUR, 10 * DAY, 400 * DAY)
AT_ONCE_MAX = 5
# Enough that what lands next is added to it.
CHECKS_OF_WHAT_IS_KEPT = 3


@pytest.fixture(scope="module")
async def stage(cluster: Cluster) -> AsyncIterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        # Onlookers share a connection that has one user at a time: none asks after its history.
        patch.setattr(change_feed, "FOLLOW_EVERY_MS", 3_600_000)
        async with staged(cluster) as stage:
            yield stage


class Onlooker:
    """Reads checks of its own, with what it keeps from one to the next, at instants of its own."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._clock = FakeClock()
        telemetry = Telemetry()
        self._stored = Stored(stage.direct, self._clock, telemetry)
        self._kept = KeptSnapshots(self._stored, stage.direct, self._clock, telemetry)

    async def check(self, history: StoredHistory) -> None:
        for buyer in history.buyers:
            for _ in range(CHECKS_OF_WHAT_IS_KEPT):
                await self._check(self._kept, buyer, history.now)
            for instant in self._instants(history, buyer):
                await self._check(self._stored, buyer, instant)

    def _instants(self, history: StoredHistory, buyer: Buyer) -> list[datetime]:
        """Later ones, and the end of the current period of each subscription."""
        story = buyer.held[0].story
        end = period_at(story.start_at, story.cadence, history.now).end
        return sorted({*(history.now + later for later in LATER), max(end, history.now)})

    async def _check(self, source: Snapshots, buyer: Buyer, instant: datetime) -> None:
        self._clock.set(instant)
        (snapshot,) = await source.read([Asked(buyer.id, None)])
        assert not isinstance(snapshot, Exception | None), snapshot
        async with self._stage.direct.connection() as conn:
            expected = await granted_to(conn, buyer.id, None, now=instant)
        assert combined(snapshot, None, instant) == expected, (buyer.id, instant)


@settings(max_examples=HISTORIES)
@given(stored_plans)
async def test_what_is_stored_is_what_follows_from_all_lives(
    stage: Stage, plan: StoredPlan
) -> None:
    note(f"{plan.start_at} {plan.lead} {plan.customers} {plan.subscriptions}")
    history = StoredHistory(stage, plan)
    onlooker = Onlooker(stage)
    await history.begin()
    for turn in plan.turns:
        note(f"{stage.clock.now} {turn}")
        await history.play(turn)
        await onlooker.check(history)
    await history.play(PEACE)
    await onlooker.check(history)


@settings(max_examples=HISTORIES // 2)
@given(stored_plans, st.integers(2, AT_ONCE_MAX))
async def test_what_is_stored_is_that_whatever_changes_at_once(
    stage: Stage, plan: StoredPlan, at_once: int
) -> None:
    note(f"{plan.start_at} {plan.lead} {plan.customers} {plan.subscriptions}")
    history = StoredHistory(stage, plan, alone=False)
    onlooker = Onlooker(stage)
    await history.begin()
    for place in range(0, len(plan.turns), at_once):
        turns = [without_fault(turn) for turn in plan.turns[place : place + at_once]]
        note(f"{stage.clock.now} {turns}")
        await history.play_at_once(turns)
        await onlooker.check(history)
    await history.play(PEACE)
    await onlooker.check(history)
