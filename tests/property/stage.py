"""The stage of stored histories: one database for all, reached over a wire that can break."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.services import invoicing
from tests.property.life_oracle import PERCENTILE
from tests.property.stored_lives import METRICS
from tests.support.api import serving
from tests.support.books import Books
from tests.support.clock import FakeClock
from tests.support.postgres import SETTINGS, Cluster, TestDatabases
from tests.support.wire import Wire

# Events may wait for days of the test's clock until they land.
SERVED = {"API_RATE_LIMIT_RPM": "0", "INGEST_BACKLOG_AGE_MAX": "366d"}
NEEDS: dict[str, dict[str, object]] = {
    "unique_count": {"property": "user"},
    "percentile": {"percentile": PERCENTILE},
}
MONTHS = [datetime(2023, 12, 1, tzinfo=UTC) + timedelta(days=30 * n) for n in range(48)]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where histories are played, one after another; `direct` leads past the wire."""

    books: Books
    wire: Wire
    clock: FakeClock
    direct: Database
    numbers: Iterator[int]


@asynccontextmanager
async def staged(cluster: Cluster) -> AsyncIterator[Stage]:
    """One database for all histories, reached over a wire that can break."""
    dsn = await cluster.create()
    wire = Wire(dsn)
    clock = FakeClock(MONTHS[-1])
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
    ]
    await books.post("/v1/events/backfill", 200, events=events)
