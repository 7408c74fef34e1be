"""Metrics: stored, found by key, paged newest first."""

from collections.abc import Iterable

import asyncpg

from abaxus_core.domain.metrics import Metric, MetricStatus
from abaxus_core.errors import Conflict
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries
from abaxus_core.repositories.constraints import violated

_sql = queries("metrics")
_insert = _sql.one("insert")
_get = _sql.maybe("get")
_lock = _sql.maybe("lock")
_find = _sql.many("find")
_page = _sql.many("page")
_update_texts = _sql.exec("update_texts")
_set_status = _sql.exec("set_status")

UNNUMBERED = 0


async def insert(conn: Connection, metric: Metric) -> Metric:
    """The metric with the number it was given. Raises METRIC_KEY_DUPLICATE."""
    try:
        row = await _insert(
            conn,
            metric.id,
            metric.key,
            metric.name,
            metric.description,
            metric.aggregation,
            metric.property,
            metric.percentile,
            metric.value_type,
            metric.created_at,
        )
    except asyncpg.UniqueViolationError as error:
        if violated(error) != "metrics_key_once":
            raise
        message = f"there is a metric {metric.key} already"
        raise Conflict(message, code="METRIC_KEY_DUPLICATE", field="key") from error
    return _metric(row)


async def get(conn: Connection, metric_key: str) -> Metric | None:
    row = await _get(conn, metric_key)
    return None if row is None else _metric(row)


async def lock(conn: Connection, metric_key: str) -> Metric | None:
    """The metric, held against other changes until the transaction ends."""
    row = await _lock(conn, metric_key)
    return None if row is None else _metric(row)


async def find(conn: Connection, metric_keys: Iterable[str]) -> dict[str, Metric]:
    """Those of the metrics that exist, by key."""
    rows = await _find(conn, sorted(metric_keys))
    return {row["metric_key"]: _metric(row) for row in rows}


async def page(conn: Connection, *, before_no: int, rows_max: int) -> list[Metric]:
    """Newest first, those numbered below `before_no`."""
    return [_metric(row) for row in await _page(conn, before_no, rows_max)]


async def update_texts(
    conn: Connection, metric_key: str, *, name: str, description: str | None
) -> None:
    await _update_texts(conn, metric_key, name, description)


async def set_status(conn: Connection, metric_key: str, status: MetricStatus) -> bool:
    """Whether that changed anything."""
    return await _set_status(conn, metric_key, status) > 0


def _metric(row: Record) -> Metric:
    return Metric(
        metric_no=row["metric_no"],
        id=row["metric_id"],
        key=row["metric_key"],
        name=row["name"],
        description=row["description"],
        aggregation=row["aggregation"],
        property=row["property"],
        percentile=row["percentile"],
        value_type=row["value_type"],
        status=row["status"],
        created_at=row["created_at"],
    )
