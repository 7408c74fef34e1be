"""Stored events: landing them once, reading them back, exact aggregates over windows of them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import msgspec

from abaxus_core.domain.instants import instant_of
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import Period
from abaxus_core.kernel.database import Connection, Record
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories import copy_format, event_keys
from abaxus_core.repositories.arrivals import METERED, TOLD, Arrival
from abaxus_core.repositories.inbox import QueuedEvent

_sql = queries("events")
_ensure_partitions = _sql.exec("ensure_partitions")
_record_conflicts = _sql.exec("record_conflicts")
_aggregate_windows = _sql.many("aggregate_windows")
_aggregate_recent = _sql.many("aggregate_recent")
_aggregate_groups = _sql.many("aggregate_groups")
_count_late = _sql.one("count_late")
_page = _sql.many("page")
_page_of_line = _sql.many("page_of_line")

EVERYTHING: Final = 2**63 - 1
_SHOWN: Final = ("metric_no", "value", "idempotency_key", "subscription_id")
_COLUMNS: Final = ("landing_no", *METERED, *TOLD)
_COUNT: Final = copy_format.count(len(_COLUMNS))


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What to aggregate: a customer's events of a metric in [start, end), outside `pauses`, that
    landed at or below `watermark`.
    """

    customer_no: int
    metric_no: int
    aggregation: str
    property: str | None = None
    percentile: Decimal | None = None
    start: datetime
    end: datetime
    pauses: tuple[Period, ...] = ()
    watermark: int = EVERYTHING


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is the sum of the events' payload hashes, whatever their order."""

    value: Decimal
    event_count: int
    digest: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The events of a window that have one text of a property; `name` None: that have none."""

    name: str | None
    value: Decimal
    event_count: int


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`properties` is JSON text, None where the caller sent none."""

    arrival_no: int
    metric_key: str
    value: Decimal
    occurred_at: datetime
    idempotency_key: str
    subscription_id: str | None
    properties: str | None
    received_at: datetime


def window_of(
    metric: Metric,
    customer_no: int,
    *,
    start: datetime,
    end: datetime,
    pauses: tuple[Period, ...] = (),
    watermark: int = EVERYTHING,
) -> Window:
    """Return the customer's window of a metric, aggregated as the metric says."""
    return Window(
        customer_no=customer_no,
        metric_no=metric.metric_no,
        aggregation=metric.aggregation,
        property=metric.property,
        percentile=metric.percentile,
        start=start,
        end=end,
        pauses=pauses,
        watermark=watermark,
    )


async def ensure_partitions(conn: Connection, months: Collection[date]) -> None:
    """Make the partitions of these months (first days). One caller at a time; idempotent."""
    await _ensure_partitions(conn, sorted(months))


async def insert(conn: Connection, arrived: Iterable[Arrival], landing_no: int) -> None:
    """Store events whose keys are stored. The partitions must be there."""
    await conn.copy_to_table(
        "events",
        source=copy_format.table(
            (each.metered + each.told for each in arrived), _COUNT + copy_format.int8(landing_no)
        ),
        columns=_COLUMNS,
        format="binary",
    )


async def record_conflicts(conn: Connection, second: Sequence[Arrival]) -> int:
    """Keep each payload that came second under its key, once; return how many are new."""
    keys = [event_keys.parts(each.identity) for each in second]
    return await _record_conflicts(
        conn,
        *([part[place] for part in keys] for place in range(3)),
        [each.payload_hash for each in second],
        [_named(each.event) for each in second],
        [instant_of(each.received_us) for each in second],
    )


def _named(event: QueuedEvent) -> str:
    fields: dict[str, object] = {name: getattr(event, name) for name in _SHOWN}
    fields["occurred_at"] = instant_of(event.occurred_us)
    fields["properties"] = msgspec.Raw((event.properties or "null").encode())
    return msgspec.json.encode(fields).decode()


async def aggregate(conn: Connection, windows: Sequence[Window]) -> list[Aggregate]:
    """Return the exact aggregate of each window, in order, from the raw events.

    The values are those of domain/aggregation.py.
    """
    rows = await _aggregate_windows(
        conn,
        [window.customer_no for window in windows],
        [window.metric_no for window in windows],
        [window.aggregation for window in windows],
        [window.property for window in windows],
        [window.percentile for window in windows],
        [window.start for window in windows],
        [window.end for window in windows],
        [_multirange(window.pauses) for window in windows],
        [window.watermark for window in windows],
    )
    return [_aggregate_of(row) for row in rows]


async def aggregate_recent(
    conn: Connection, windows: Sequence[Window], *, rows_max: int
) -> list[Aggregate]:
    """Return the aggregate of each window, in order, over at most `rows_max` of its events.

    One with as many may have more, and then says nothing. The aggregations are additive ones, and
    everything that has landed counts.
    """
    rows = await _aggregate_recent(
        conn,
        [window.customer_no for window in windows],
        [window.metric_no for window in windows],
        [window.aggregation for window in windows],
        [window.start for window in windows],
        [window.end for window in windows],
        min(window.start for window in windows),
        max(window.end for window in windows),
        rows_max,
    )
    return [_aggregate_of(row) for row in rows]


def _aggregate_of(row: Record) -> Aggregate:
    return Aggregate(value=row["value"], event_count=row["event_count"], digest=int(row["digest"]))


def _multirange(pauses: Sequence[Period]) -> str | None:
    """Periods as the text of a tstzmultirange; None where there is none."""
    if not pauses:
        return None
    return (
        "{" + ",".join(f"[{one.start.isoformat()},{one.end.isoformat()})" for one in pauses) + "}"
    )


async def aggregate_groups(
    conn: Connection, window: Window, group_by: str, *, rows_max: int
) -> list[Group]:
    """Return the exact aggregate of each group of the window's events, most events first.

    Events are grouped by the text of the property `group_by`, as `Measurement.property` has it.
    """
    rows = await _aggregate_groups(
        conn,
        window.customer_no,
        window.metric_no,
        window.aggregation,
        window.property,
        window.percentile,
        window.start,
        window.end,
        group_by,
        rows_max,
    )
    return [
        Group(name=row["group_name"], value=row["value"], event_count=row["event_count"])
        for row in rows
    ]


async def count_late(conn: Connection, window: Window) -> int:
    """Return how many of the window's events were accepted at or after its end."""
    row = await _count_late(
        conn, window.customer_no, window.metric_no, window.start, window.end, window.watermark
    )
    event_count: int = row["event_count"]
    return event_count


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to list: newest first, below (before_at, before_no), at most `rows_max`."""

    customer_no: int
    metric_key: str | None
    start: datetime
    end: datetime
    before_at: datetime
    before_no: int
    rows_max: int


async def page(conn: Connection, asked: Page) -> list[StoredEvent]:
    """Return one page of a customer's events, newest first."""
    rows = await _page(
        conn,
        asked.customer_no,
        asked.metric_key,
        asked.start,
        asked.end,
        asked.before_at,
        asked.before_no,
        asked.rows_max,
    )
    return [StoredEvent(**dict(row)) for row in rows]


class LinePage(Page, frozen=True, kw_only=True):
    """The same of what a line counts: outside `pauses`, landed at or below `watermark`."""

    pauses: tuple[Period, ...]
    watermark: int


async def page_of_line(conn: Connection, asked: LinePage) -> list[StoredEvent]:
    """Return one page of the events that a line counts, newest first."""
    rows = await _page_of_line(
        conn,
        asked.customer_no,
        asked.metric_key,
        asked.start,
        asked.end,
        _multirange(asked.pauses),
        asked.watermark,
        asked.before_at,
        asked.before_no,
        asked.rows_max,
    )
    return [StoredEvent(**dict(row)) for row in rows]
