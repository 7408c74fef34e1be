"""Rollups: what a customer used of a metric per UTC day, kept by landings, read by summaries."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from abaxus_core.domain.aggregation import ADDITIVE
from abaxus_core.domain.instants import ONE_DAY, days_within
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories import copy_format, events
from abaxus_core.repositories.arrivals import METERED, Arrival
from abaxus_core.repositories.events import Aggregate, Window

_sql = queries("rollups")
_prepare = _sql.exec("prepare")
_add = _sql.exec("add")
_total_windows = _sql.many("total_windows")
_metrics_used = _sql.many("metrics_used")

# A landing this many days after a day marks it as changed late.
LATE_DAYS: Final = 2
_HEAD: Final = copy_format.count(len(METERED))


async def add(
    conn: Connection, arrived: Iterable[Arrival], *, landing_no: int, landed_on: date
) -> None:
    """Add events, stored in the same transaction by `events.insert`, to their days.

    `landed_on` is today's UTC day. Takes the days' locks, in ascending order, until the commit.
    """
    await _prepare(conn)
    await conn.copy_to_table(
        "landing_usage",
        source=copy_format.table((each.metered for each in arrived), _HEAD),
        columns=METERED,
        format="binary",
    )
    await _add(conn, landing_no, landed_on - LATE_DAYS * ONE_DAY)


async def aggregate(conn: Connection, windows: Sequence[Window]) -> list[Aggregate]:
    """Return the aggregate of each window, in order, over everything landed: two statements.

    Equal to `events.aggregate` of the same windows; whole UTC days of additive aggregations cost
    one row each, the rest its raw events.
    """
    places = range(len(windows))
    additive = [place for place in places if windows[place].aggregation in ADDITIVE]
    others = [place for place in places if windows[place].aggregation not in ADDITIVE]
    found: dict[int, Aggregate] = {}
    if additive:
        totals = await _totals(conn, [windows[place] for place in additive])
        found |= dict(zip(additive, totals, strict=True))
    if others:
        exact = await events.aggregate(conn, [windows[place] for place in others])
        found |= dict(zip(others, exact, strict=True))
    return [found[place] for place in places]


async def metrics_used(
    conn: Connection, customer_no: int, start: datetime, end: datetime
) -> list[str]:
    """Return the keys of the metrics with events on the UTC days that [start, end) touches."""
    last_day = (end - timedelta.resolution).astimezone(UTC).date()
    rows = await _metrics_used(conn, customer_no, start.astimezone(UTC).date(), last_day)
    return [row["metric_key"] for row in rows]


async def _totals(conn: Connection, windows: Sequence[Window]) -> list[Aggregate]:
    numbers: dict[tuple[datetime, datetime], int] = {}
    spans = [numbers.setdefault((one.start, one.end), len(numbers) + 1) for one in windows]
    days = [days_within(start, end) for start, end in numbers]
    rows = await _total_windows(
        conn,
        [window.customer_no for window in windows],
        [window.metric_no for window in windows],
        [window.aggregation for window in windows],
        spans,
        [start for start, _ in numbers],
        [end for _, end in numbers],
        [first_day for first_day, _ in days],
        [after_day for _, after_day in days],
    )
    return [
        Aggregate(value=row["value"], event_count=row["event_count"], digest=int(row["digest"]))
        for row in rows
    ]
