"""Whatever becomes of subscriptions on a real database, and whatever breaks off in between, all
lines ever issued add up to one rating of all events.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from abaxus_core.kernel.database import open_databases
from abaxus_core.services import invoicing
from tests.property.life_oracle import PERCENTILE
from tests.property.stored_history import Stage, StoredHistory
from tests.property.stored_lives import METRICS, StoredPlan, Turn, stored_plans
from tests.support.api import serving
from tests.support.books import Books
from tests.support.clock import FakeClock
from tests.support.postgres import SETTINGS, Cluster, TestDatabases
from tests.support.wire import Wire

# One on a database for twelve on the domain alone.
HISTORIES = int(os.environ.get("ABAXUS_TEST_HISTORIES", "2000")) // 12

# Events may wait for days of the test's clock until they land.
SERVED = {"API_RATE_LIMIT_RPM": "0", "INGEST_BACKLOG_AGE_MAX": "366d"}
AT_ONCE_MAX = 5
NEEDS: dict[str, dict[str, object]] = {
    "unique_count": {"property": "user"},
    "percentile": {"percentile": PERCENTILE},
}
MONTHS = [datetime(2023, 12, 1, tzinfo=UTC) + timedelta(days=30 * n) for n in range(48)]


@pytest.fixture(scope="module")
async def stage(cluster: Cluster) -> AsyncIterator[Stage]:
    """One database for all histories, reached over a wire that can break."""
    dsn = await cluster.create()
    wire = Wire(dsn)
    clock = FakeClock()
    with pytest.MonkeyPatch.context() as patch:
        # Nothing lands beside the test, so there is nothing to wait for.
        patch.setattr(invoicing, "INBOX_POLLS_MAX", 0)
        async with (
            wire.open(),
            open_databases(wire.dsn, SETTINGS) as databases,
            open_databases(dsn, SETTINGS) as direct,
            serving(TestDatabases(dsn=wire.dsn, open=databases), clock, **SERVED) as api,
        ):
            books = Books(api.client, api.contexts["live"], api.contexts["test"])
            await _furnish(books)
            yield Stage(books, wire, clock, direct.live, count(1))
    await cluster.drop(dsn)


async def _furnish(books: Books) -> None:
    """The metrics, and a partition of every month: a fault is to strike alike in every history."""
    for group in METRICS:
        for key, aggregation in group.items():
            await books.metric(key=key, aggregation=aggregation, **NEEDS.get(aggregation, {}))
    await books.customer("nobody")
    events = [
        {
            "customer_id": "nobody",
            "metric_key": "hits",
            "value": 1,
            "timestamp": month.isoformat(),
            "idempotency_key": month.isoformat(),
        }
        for month in MONTHS
        if month < datetime(2026, 5, 10, tzinfo=UTC)
    ]
    await books.post("/v1/events/backfill", 200, events=events)


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
