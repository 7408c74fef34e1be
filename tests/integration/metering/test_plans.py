"""The statements that run often find their rows by an index, whatever else is stored."""

from datetime import timedelta
from decimal import Decimal

import pytest

from abaxus_core.kernel import sql
from abaxus_core.services.work import Context
from tests.support.metering import T0, event, fetch, land_all, offer

WEEK = T0 + timedelta(days=7)
ASKED: dict[str, tuple[object, ...]] = {
    "events.aggregate_windows": (
        *([1], [1], ["percentile"], [None], [Decimal(95)], [T0], [WEEK], [None]),
        [2**63 - 1],
    ),
    "events.aggregate_recent": ([1], [1], ["last"], [T0], [WEEK], T0, WEEK, 100),
    "events.aggregate_groups": (1, 1, "sum", None, None, T0, WEEK, "region", 100),
    "events.count_late": (1, 1, T0, WEEK, 2**63 - 1),
    "events.page": (1, None, T0, WEEK, WEEK, 0, 50),
    "events.page_of_line": (1, "total", T0, WEEK, None, 2**62, WEEK, 0, 50),
    "event_keys.known": ([1], [0], [0]),
    "rollups.total_windows": (
        *([1], [1], ["sum"], [1], [T0], [WEEK]),
        *([T0.date()], [WEEK.date()]),
    ),
    "rollups.metrics_used": (1, T0.date(), WEEK.date()),
}


@pytest.fixture
async def full(context: Context) -> Context:
    """Two months of many customers' events, analysed."""
    await fetch(
        context.database,
        "INSERT INTO customers (customer_id, metadata, created_at)"
        " SELECT 'c' || n, '{}', $1 FROM generate_series(1, 300) AS n",
        T0,
    )
    for request in range(20):
        await offer(
            context,
            *(
                event(
                    f"k{request}-{n}",
                    customer_id=f"c{n % 300 + 1}",
                    timestamp=T0 + timedelta(days=request - 12, minutes=n),
                )
                for n in range(1000)
            ),
        )
    await land_all(context)
    await fetch(context.database, "ANALYZE")
    return context


async def test_no_hot_statement_scans_a_table_of_events(full: Context) -> None:
    for name, arguments in ASKED.items():
        aggregate, _, statement = name.partition(".")
        text = sql.load(aggregate)[statement].text
        plan = "\n".join(
            str(line) for (line,) in await fetch(full.database, f"EXPLAIN {text}", *arguments)
        )
        scanned = [
            line.strip()
            for line in plan.splitlines()
            if "Seq Scan on events_2026" in line
            or "Seq Scan on event_keys" in line
            or "Seq Scan on usage_daily" in line
        ]
        assert not scanned, f"{name}:\n{plan}"
