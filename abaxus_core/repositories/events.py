"""Stored events: landing them once, reading them back, exact aggregates over windows of them."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import msgspec

from abaxus_core.domain.metrics import Metric
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories.inbox import QueuedEvent

_sql = queries("events")
_ensure_partitions = _sql.exec("ensure_partitions")
_land = _sql.one("land")
_conflicting = _sql.many("conflicting")
_known = _sql.many("known")
_record_conflicts = _sql.exec("record_conflicts")
_aggregate_windows = _sql.many("aggregate_windows")
_count_late = _sql.one("count_late")
_page = _sql.many("page")

EVERYTHING: Final = 2**63 - 1
_SHOWN: Final = ("metric_no", "occurred_at", "value", "idempotency_key", "subscription_id")


class ArrivedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A queued event with when it was accepted, and its place in the order of acceptance."""

    event: QueuedEvent
    arrival_no: int
    received_at: datetime


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """A payload that came second under its key."""

    event: QueuedEvent
    received_at: datetime


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What to aggregate: a customer's events of a metric in [start, end)."""

    customer_no: int
    metric_no: int
    aggregation: str
    property: str | None = None
    percentile: Decimal | None = None
    start: datetime
    end: datetime


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is the sum of the events' payload hashes, whatever their order."""

    value: Decimal
    event_count: int
    digest: int


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`properties` is JSON text, None where the caller sent none."""

    event_key: UUID
    metric_key: str
    value: Decimal
    occurred_at: datetime
    idempotency_key: str
    subscription_id: str | None
    properties: str | None
    received_at: datetime


def window_of(metric: Metric, customer_no: int, *, start: datetime, end: datetime) -> Window:
    """Return the customer's window of a metric, aggregated as the metric says."""
    return Window(
        customer_no=customer_no,
        metric_no=metric.metric_no,
        aggregation=metric.aggregation,
        property=metric.property,
        percentile=metric.percentile,
        start=start,
        end=end,
    )


async def ensure_partitions(conn: Connection, months: Collection[date]) -> None:
    """Make the partitions of these months (first days). One caller at a time; idempotent."""
    await _ensure_partitions(conn, sorted(months))


async def land(conn: Connection, arrived: Sequence[ArrivedEvent], landing_no: int) -> int:
    """Store the events whose keys are new and add them to the rollups; return how many were new.

    Locks keys, then days, each in ascending order. The partitions must be there.
    """
    events = [each.event for each in arrived]
    row = await _land(
        conn,
        [event.customer_no for event in events],
        [event.metric_no for event in events],
        [event.event_key for event in events],
        [event.payload_hash for event in events],
        [event.occurred_at for event in events],
        [each.arrival_no for each in arrived],
        [event.value for event in events],
        [each.received_at for each in arrived],
        [event.idempotency_key for event in events],
        [event.subscription_id for event in events],
        [event.properties for event in events],
        landing_no,
    )
    stored_count: int = row["stored_count"]
    return stored_count


async def conflicting(conn: Connection, arrived: Sequence[ArrivedEvent]) -> list[ArrivedEvent]:
    """Return those whose key is stored with another payload."""
    rows = await _conflicting(
        conn,
        [each.event.customer_no for each in arrived],
        [each.event.event_key for each in arrived],
        [each.event.payload_hash for each in arrived],
    )
    return [arrived[row["place"]] for row in rows]


async def known(conn: Connection, keys: Sequence[tuple[int, UUID]]) -> dict[tuple[int, UUID], int]:
    """Return the stored payload hash of each (customer_no, event_key) that has landed."""
    rows = await _known(conn, [number for number, _ in keys], [key for _, key in keys])
    return {keys[row["place"]]: row["payload_hash"] for row in rows}


async def record_conflicts(conn: Connection, conflicts: Sequence[Conflict]) -> None:
    """Keep each payload that came second, once."""
    await _record_conflicts(
        conn,
        [conflict.event.customer_no for conflict in conflicts],
        [conflict.event.event_key for conflict in conflicts],
        [conflict.event.payload_hash for conflict in conflicts],
        [_named(conflict.event) for conflict in conflicts],
        [conflict.received_at for conflict in conflicts],
    )


def _named(event: QueuedEvent) -> str:
    fields: dict[str, object] = {name: getattr(event, name) for name in _SHOWN}
    fields["properties"] = msgspec.Raw((event.properties or "null").encode())
    return msgspec.json.encode(fields).decode()


async def aggregate(
    conn: Connection, windows: Sequence[Window], watermark: int | None
) -> list[Aggregate]:
    """Return the exact aggregate of each window, in order, from the raw events.

    Only events landed at or below `watermark` count (None: all). The values are those of
    domain/aggregation.py.
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
        EVERYTHING if watermark is None else watermark,
    )
    return [
        Aggregate(value=row["value"], event_count=row["event_count"], digest=int(row["digest"]))
        for row in rows
    ]


async def count_late(conn: Connection, window: Window, watermark: int) -> int:
    """Return how many of the window's events were accepted at or after its end."""
    row = await _count_late(
        conn, window.customer_no, window.metric_no, window.start, window.end, watermark
    )
    event_count: int = row["event_count"]
    return event_count


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to list: newest first, below (before_at, before_key), at most `rows_max`."""

    customer_no: int
    metric_key: str | None
    start: datetime
    end: datetime
    before_at: datetime
    before_key: UUID
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
        asked.before_key,
        asked.rows_max,
    )
    return [StoredEvent(**dict(row)) for row in rows]
