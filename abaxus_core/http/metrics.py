"""Metrics over HTTP."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, TypeAlias

import msgspec

from abaxus_core.domain import metrics as domain
from abaxus_core.domain.aggregation import Aggregation
from abaxus_core.http import codec, spellings
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import PATH_NUMBER_MAX, Call, Endpoint
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.http.texts import Description, Key, Name, Reference
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import metrics as repository
from abaxus_core.services import metrics as service
from abaxus_core.services.work import Work

_Change: TypeAlias = Callable[[Work, str], Awaitable[domain.Metric]]


class NewMetric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`property` belongs to unique_count, `percentile` (between 0 and 100) to percentile.

    `name` defaults to the key.
    """

    key: Key
    name: Name | None = None
    description: Description | None = None
    aggregation: Aggregation
    property: Reference | None = None
    percentile: Decimal | None = None
    value_type: domain.ValueType = "decimal"
    idempotency_key: codec.IdempotencyKey | None = None


class MetricChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change of a metric; what is absent stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType | None = msgspec.UNSET
    idempotency_key: codec.IdempotencyKey | None = None


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    key: str
    name: str
    description: str | None
    aggregation: Aggregation
    property: str | None
    percentile: Decimal | None
    value_type: domain.ValueType
    status: domain.MetricStatus
    created_at: datetime


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended."""

    metric_no: Annotated[int, msgspec.Meta(ge=1, le=PATH_NUMBER_MAX)]


async def create(call: Call[NewMetric, None]) -> Answer:
    body = call.body
    new = service.NewMetric(
        key=body.key,
        name=body.name,
        description=body.description,
        aggregation=body.aggregation,
        property=body.property,
        percentile=body.percentile,
        value_type=body.value_type,
    )

    async def step(work: Work) -> Metric:
        return _shown(await service.create(work, new))

    return await call.write(201, step)


async def newest(call: Call[None, Paged]) -> Answer:
    query = call.query
    before = read_cursor(query.cursor, _Position).metric_no if query.cursor else PATH_NUMBER_MAX

    async def step(conn: Connection) -> Page[Metric]:
        found = await repository.page(conn, before_no=before, rows_max=query.limit + 1)
        shown = page(found, query.limit, lambda metric: (metric.metric_no,))
        return Page(data=[_shown(one) for one in shown.data], next_cursor=shown.next_cursor)

    return await call.read(step)


async def get(call: Call[None, None]) -> Answer:
    async def step(conn: Connection) -> Metric:
        return _shown(await service.get(conn, call.path["key"]))

    return await call.read(step)


async def update(call: Call[MetricChange, None]) -> Answer:
    change = service.MetricChange(name=call.body.name, description=call.body.description)

    async def step(work: Work) -> Metric:
        return _shown(await service.update(work, call.path["key"], change))

    return await call.write(200, step)


async def deactivate(call: Call[None, None]) -> Answer:
    return await _switch(call, service.deactivate)


async def activate(call: Call[None, None]) -> Answer:
    return await _switch(call, service.activate)


async def _switch(call: Call[None, None], change: _Change) -> Answer:
    async def step(work: Work) -> Metric:
        return _shown(await change(work, call.path["key"]))

    return await call.write(200, step)


def _shown(metric: domain.Metric) -> Metric:
    return Metric(
        id=metric.id,
        key=metric.key,
        name=metric.name,
        description=metric.description,
        aggregation=metric.aggregation,
        property=metric.property,
        percentile=metric.percentile,
        value_type=metric.value_type,
        status=metric.status,
        created_at=metric.created_at,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/metrics",
        handler=create,
        scope="write",
        body=NewMetric,
        rewrite=spellings.metric,
        answers={201: Metric},
        errors=("METRIC_KEY_DUPLICATE",),
        example={"key": "api_calls", "name": "API calls", "aggregation": "sum"},
        summary="Create a metric; its key and its aggregation never change",
        tag="Metrics",
    ),
    Endpoint(
        method="GET",
        path="/v1/metrics",
        handler=newest,
        scope="read",
        query=Paged,
        answers={200: Page[Metric]},
        summary="List metrics, newest first",
        tag="Metrics",
    ),
    Endpoint(
        method="GET",
        path="/v1/metrics/{key}",
        handler=get,
        scope="read",
        answers={200: Metric},
        errors=("METRIC_NOT_FOUND",),
        summary="Read a metric",
        tag="Metrics",
    ),
    Endpoint(
        method="PATCH",
        path="/v1/metrics/{key}",
        handler=update,
        scope="write",
        body=MetricChange,
        rewrite=spellings.metric,
        answers={200: Metric},
        errors=("METRIC_NOT_FOUND",),
        summary="Change a metric's name or description",
        tag="Metrics",
    ),
    Endpoint(
        method="POST",
        path="/v1/metrics/{key}/deactivate",
        handler=deactivate,
        scope="write",
        answers={200: Metric},
        errors=("METRIC_NOT_FOUND",),
        summary="Refuse new events of the metric, keeping its history",
        tag="Metrics",
    ),
    Endpoint(
        method="POST",
        path="/v1/metrics/{key}/activate",
        handler=activate,
        scope="write",
        answers={200: Metric},
        errors=("METRIC_NOT_FOUND",),
        summary="Take events of the metric again",
        tag="Metrics",
    ),
)
