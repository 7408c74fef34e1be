"""Reading usage back: the summary from rollups, the exact value from raw events, the events.

The summary says what is accepted and not in it; compute waits for nothing but the landings that
run.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Final, Literal, TypeAlias

import msgspec

from abaxus_core.domain.customers import Customer
from abaxus_core.domain.metrics import Metric
from abaxus_core.errors import InvalidInput, NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import backlog, events, metrics, rollups, watermarks
from abaxus_core.repositories.backlog import Backlog
from abaxus_core.repositories.events import Aggregate, Group, StoredEvent, Window
from abaxus_core.services import customers

Span: TypeAlias = tuple[datetime, datetime]
"""A half-open stretch of time, [start, end)."""
Granularity: TypeAlias = Literal["hour", "day"]

WINDOWS_MAX: Final = 10_000
GROUPS_MAX: Final = 1_000
BACKLOG_ROWS_MAX: Final = 10_000
ARRIVAL_MAX: Final = 2**63 - 1

_STEP: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_ONE_SECOND: Final = timedelta(seconds=1)


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    start: datetime
    value: Decimal
    event_count: int


class Grouped(msgspec.Struct, frozen=True, kw_only=True):
    """Groups with most events first; `cut_off` where there are more than GROUPS_MAX."""

    groups: list[Group]
    cut_off: bool


class MetricUsage(msgspec.Struct, frozen=True, kw_only=True):
    """`buckets` is empty and `grouped` None unless they were asked for."""

    metric_key: str
    aggregation: str
    value: Decimal
    event_count: int
    buckets: list[Bucket]
    grouped: Grouped | None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to summarise: one metric or all, whole, in buckets, or by the text of a property."""

    customer_id: str
    period: Span
    metric_key: str | None = None
    granularity: Granularity | None = None
    group_by: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`lag_s` is for how long the oldest event has waited that is not in here yet."""

    usage: list[MetricUsage]
    lag_s: int
    backlog: Backlog


class Computed(msgspec.Struct, frozen=True, kw_only=True):
    """`late_event_count`: those of the events that were accepted at or after the period's end."""

    aggregation: str
    aggregate: Aggregate
    late_event_count: int
    watermark: int


async def summarise(conn: Connection, asked: Asked, *, now: datetime) -> Summary:
    """Return what the customer used in the period, by metric, of what has landed.

    `conn` is in a transaction that sees one snapshot: an event is then either in the usage or in
    the backlog. Without `metric_key`: the metrics with events, in order of their keys. At most
    WINDOWS_MAX buckets; InvalidInput beyond.
    """
    _check_grouping(asked)
    customer = await customers.get(conn, asked.customer_id)
    waiting = await backlog.measure(conn, rows_max=BACKLOG_ROWS_MAX)
    measured = await _metrics(conn, customer, asked.metric_key, asked.period)
    buckets = _buckets(asked.period, asked.granularity, len(measured))
    spans = (asked.period, *buckets)
    windows = [_window(customer, metric, span) for metric in measured for span in spans]
    found = iter(await rollups.aggregate(conn, windows))
    grouped = await _grouped(conn, windows, asked.group_by)
    return Summary(
        usage=[
            _usage(metric, list(islice(found, len(spans))), buckets, grouped) for metric in measured
        ],
        lag_s=0 if waiting.oldest is None else max(0, (now - waiting.oldest) // _ONE_SECOND),
        backlog=waiting,
    )


async def compute(conn: Connection, customer_id: str, metric_key: str, period: Span) -> Computed:
    """Return the exact value over a period from raw events, at a watermark.

    `conn` must be in autocommit, see `watermarks.read`.
    """
    customer = await customers.get(conn, customer_id)
    metric = await _metric(conn, metric_key)
    watermark = await watermarks.read(conn)
    window = msgspec.structs.replace(_window(customer, metric, period), watermark=watermark)
    (found,) = await events.aggregate(conn, [window])
    return Computed(
        aggregation=metric.aggregation,
        aggregate=found,
        late_event_count=await events.count_late(conn, window),
        watermark=watermark,
    )


async def list_events(
    conn: Connection,
    customer_id: str,
    *,
    metric_key: str | None,
    period: Span,
    before: tuple[datetime, int] | None,
    rows_max: int,
) -> Sequence[StoredEvent]:
    """Return the customer's landed events of a period, newest first, those below `before`."""
    customer = await customers.get(conn, customer_id)
    if metric_key is not None:
        await _metric(conn, metric_key)
    start, end = period
    before_at, before_no = before or (end, ARRIVAL_MAX)
    page = events.Page(
        customer_no=customer.customer_no,
        metric_key=metric_key,
        start=start,
        end=end,
        before_at=before_at,
        before_no=before_no,
        rows_max=rows_max,
    )
    return await events.page(conn, page)


def check_period(start: datetime, end: datetime, *, field: str) -> Span:
    """Return [start, end); InvalidInput on `field` unless it has a length."""
    if start >= end:
        raise InvalidInput("must be after the start of the period", field=field)
    return start, end


def month_of(now: datetime) -> Span:
    """Return the UTC calendar month around an instant.

    >>> [each.isoformat() for each in month_of(datetime(2026, 12, 31, 23, tzinfo=UTC))]
    ['2026-12-01T00:00:00+00:00', '2027-01-01T00:00:00+00:00']
    """
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, (first + timedelta(days=31)).replace(day=1)


def _check_grouping(asked: Asked) -> None:
    if asked.group_by is None:
        return
    if asked.metric_key is None:
        raise InvalidInput("is required with group_by", field="metric_key")
    if asked.granularity is not None:
        raise InvalidInput("cannot be combined with group_by", field="granularity")


async def _grouped(
    conn: Connection, windows: Sequence[Window], group_by: str | None
) -> Grouped | None:
    if group_by is None:
        return None
    (window,) = windows
    groups = await events.aggregate_groups(conn, window, group_by, rows_max=GROUPS_MAX + 1)
    return Grouped(groups=groups[:GROUPS_MAX], cut_off=len(groups) > GROUPS_MAX)


async def _metric(conn: Connection, metric_key: str) -> Metric:
    metric = await metrics.get(conn, metric_key)
    if metric is None:
        raise NotFound(
            f"there is no metric {metric_key}", code="METRIC_NOT_FOUND", field="metric_key"
        )
    return metric


async def _metrics(
    conn: Connection,
    customer: Customer,
    metric_key: str | None,
    period: Span,
) -> list[Metric]:
    if metric_key is not None:
        return [await _metric(conn, metric_key)]
    keys = await rollups.metrics_used(conn, customer.customer_no, *period)
    found = await metrics.find(conn, keys)
    return [found[key] for key in keys]


def _buckets(period: Span, granularity: Granularity | None, metric_count: int) -> list[Span]:
    if granularity is None:
        return []
    start, end = period
    if (end - start) // _STEP[granularity] * max(metric_count, 1) > WINDOWS_MAX:
        raise InvalidInput(
            f"gives more than {WINDOWS_MAX} buckets; ask for a shorter period or for one metric",
            field="granularity",
        )
    return list(_cut(start, end, granularity))


def _cut(start: datetime, end: datetime, granularity: Granularity) -> Iterator[Span]:
    """Whole UTC hours or days, and what of one is left at the edges of the period."""
    hour = start.hour if granularity == "hour" else 0
    following = start.replace(hour=hour, minute=0, second=0, microsecond=0) + _STEP[granularity]
    while start < end:
        yield start, min(following, end)
        start, following = following, following + _STEP[granularity]


def _window(customer: Customer, metric: Metric, span: Span) -> Window:
    start, end = span
    return events.window_of(metric, customer.customer_no, start=start, end=end)


def _usage(
    metric: Metric,
    found: Sequence[Aggregate],
    buckets: Sequence[Span],
    grouped: Grouped | None,
) -> MetricUsage:
    whole, *parts = found
    return MetricUsage(
        metric_key=metric.key,
        aggregation=metric.aggregation,
        value=whole.value,
        event_count=whole.event_count,
        buckets=[
            Bucket(start=start, value=part.value, event_count=part.event_count)
            for (start, _), part in zip(buckets, parts, strict=True)
        ],
        grouped=grouped,
    )
