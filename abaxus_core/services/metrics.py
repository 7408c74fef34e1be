"""Metrics: created, renamed, switched off and on. What they aggregate never changes."""

from decimal import Decimal

import msgspec

from abaxus_core.domain.aggregation import Aggregation
from abaxus_core.domain.metrics import Metric, MetricStatus, ValueType, check_aggregation
from abaxus_core.errors import NotFound
from abaxus_core.kernel.database import Connection, wake_with_commit
from abaxus_core.repositories import metrics as repository
from abaxus_core.services import audit
from abaxus_core.services.topics import CATALOGUE
from abaxus_core.services.work import Work


class NewMetric(msgspec.Struct, frozen=True, kw_only=True):
    """`name` None is the key."""

    key: str
    name: str | None = None
    description: str | None = None
    aggregation: Aggregation
    property: str | None = None
    percentile: Decimal | None = None
    value_type: ValueType = "decimal"


class MetricChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is unset stays as it is."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType | None = msgspec.UNSET


async def create(work: Work, new: NewMetric) -> Metric:
    """The new metric, active. Raises METRIC_KEY_DUPLICATE."""
    check_aggregation(new.aggregation, property_name=new.property, percentile=new.percentile)
    metric = await repository.insert(
        work.conn,
        Metric(
            metric_no=repository.UNNUMBERED,
            id=work.ids.new("met"),
            key=new.key,
            name=new.key if new.name is None else new.name,
            description=new.description,
            aggregation=new.aggregation,
            property=new.property,
            percentile=new.percentile,
            value_type=new.value_type,
            created_at=work.now,
        ),
    )
    await _record(work, "metric.created", metric, {"aggregation": metric.aggregation})
    return metric


async def update(work: Work, metric_key: str, change: MetricChange) -> Metric:
    """The metric with its new name or description; one at a time. Raises METRIC_NOT_FOUND."""
    metric = _found(await repository.lock(work.conn, metric_key), metric_key)
    changed = {
        field: value
        for field, value in msgspec.structs.asdict(change).items()
        if value is not msgspec.UNSET and value != getattr(metric, field)
    }
    if not changed:
        return metric
    metric = msgspec.structs.replace(metric, **changed)
    await repository.update_texts(
        work.conn, metric_key, name=metric.name, description=metric.description
    )
    await _record(work, "metric.updated", metric, changed)
    return metric


async def deactivate(work: Work, metric_key: str) -> Metric:
    """The metric, refusing new events from now on; again changes nothing."""
    return await _switch(work, metric_key, "inactive", "metric.deactivated")


async def activate(work: Work, metric_key: str) -> Metric:
    """The metric, taking events again; again changes nothing."""
    return await _switch(work, metric_key, "active", "metric.activated")


async def get(conn: Connection, metric_key: str) -> Metric:
    """Raises METRIC_NOT_FOUND."""
    return _found(await repository.get(conn, metric_key), metric_key)


async def _switch(work: Work, metric_key: str, status: MetricStatus, action: str) -> Metric:
    if await repository.set_status(work.conn, metric_key, status):
        metric = await get(work.conn, metric_key)
        await _record(work, action, metric, {})
        return metric
    return await get(work.conn, metric_key)


async def _record(work: Work, action: str, metric: Metric, data: dict[str, object]) -> None:
    await audit.record(work, action=action, object_type="metric", object_id=metric.key, data=data)
    await wake_with_commit(work.conn, CATALOGUE)


def _found(metric: Metric | None, metric_key: str) -> Metric:
    if metric is None:
        raise NotFound(f"there is no metric {metric_key}", code="METRIC_NOT_FOUND", field="key")
    return metric
