"""Usage of a customer: the summary from rollups, and the exact value from raw events."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from abaxus_core.domain.instants import parse_day_or_instant, start_of
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.codec import CallerId, IdempotencyKey
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.kernel.database import Connection
from abaxus_core.services import usage
from abaxus_core.services.usage import Asked, Granularity, Grouped, MetricUsage, Span, Summary


class SummaryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Timestamps or days (their midnight UTC). The period is this UTC month unless said.

    `group_by` names a property of the events; it wants a `metric_key` and no `granularity`.
    """

    customer_id: CallerId
    metric_key: str | None = None
    period_start: str | None = None
    period_end: str | None = None
    granularity: Granularity | None = None
    group_by: Annotated[str, msgspec.Meta(min_length=1)] | None = None


class UsageBucket(msgspec.Struct, frozen=True, kw_only=True):
    """`start` of an hour or a day in UTC, or of what of it lies in the period."""

    start: datetime
    value: Decimal
    event_count: int


class UsageGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Events that have one value of the property, as text; null: those without it."""

    group: str | None
    value: Decimal
    event_count: int


class UsageOfMetric(msgspec.Struct, frozen=True, kw_only=True):
    """`buckets` is there when a granularity was asked for, `groups` when a grouping was.

    Groups are exact, most events first, 1,000 at most; `groups_cut_off` says that there are more.
    """

    metric_key: str
    aggregation: str
    value: Decimal
    event_count: int
    buckets: list[UsageBucket] | msgspec.UnsetType = msgspec.UNSET
    groups: list[UsageGroup] | msgspec.UnsetType = msgspec.UNSET
    groups_cut_off: bool | msgspec.UnsetType = msgspec.UNSET


class SummaryMeta(msgspec.Struct, frozen=True, kw_only=True):
    """How far behind the summary is: what is accepted and not in it, of all customers.

    `lag_seconds` is how long the oldest queued event has waited. `queued_at_least`: so many
    requests wait that `queued_events` counts the oldest 10,000 alone. `quarantined_events` could
    not be stored and are set aside for the operator.
    """

    consistency: Literal["eventual"] = "eventual"
    lag_seconds: int
    queued_events: int
    queued_at_least: bool
    quarantined_events: int


class UsageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Usage by metric, in order of keys."""

    customer_id: str
    period_start: datetime
    period_end: datetime
    usage: list[UsageOfMetric]
    meta: SummaryMeta


class ComputeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Timestamps or days (their midnight UTC); `period_end` is not included."""

    customer_id: CallerId
    metric_key: str
    period_start: str
    period_end: str
    idempotency_key: IdempotencyKey | None = None


class ComputeMeta(msgspec.Struct, frozen=True, kw_only=True):
    """`late_event_count`: events of the period that arrived after its end."""

    consistency: Literal["exact"] = "exact"
    late_event_count: int
    watermark: int


class UsageComputed(msgspec.Struct, frozen=True, kw_only=True):
    """One metric's exact value over [period_start, period_end)."""

    customer_id: str
    metric_key: str
    aggregation: str
    period_start: datetime
    period_end: datetime
    value: Decimal
    event_count: int
    meta: ComputeMeta


async def summarise(call: Call[None, SummaryQuery]) -> Answer:
    """What a customer used in a period, from pre-computed days."""
    query, now = call.query, call.context.clock()
    asked = Asked(
        customer_id=query.customer_id,
        period=_period_asked(query, now),
        metric_key=query.metric_key,
        granularity=query.granularity,
        group_by=query.group_by,
    )

    async def step(conn: Connection) -> Summary:
        return await usage.summarise(conn, asked, now=now)

    found = await call.context.database.transaction(step, isolation="repeatable_read")
    return answer(200, _summary(asked, found))


async def compute(call: Call[ComputeRequest, None]) -> Answer:
    """The exact usage of one metric over a period, from raw events."""
    body = call.body
    start = start_of(parse_day_or_instant(body.period_start, "period_start"))
    end = start_of(parse_day_or_instant(body.period_end, "period_end"))
    period = usage.check_period(start, end, field="period_end")

    async def step() -> tuple[int, UsageComputed]:
        async with call.context.database.connection() as conn:
            found = await usage.compute(conn, body.customer_id, body.metric_key, period)
        meta = ComputeMeta(late_event_count=found.late_event_count, watermark=found.watermark)
        return 200, UsageComputed(
            customer_id=body.customer_id,
            metric_key=body.metric_key,
            aggregation=found.aggregation,
            period_start=start,
            period_end=end,
            value=found.aggregate.value,
            event_count=found.aggregate.event_count,
            meta=meta,
        )

    return await call.run(step)


def _period_asked(query: SummaryQuery, now: datetime) -> Span:
    start, end = usage.month_of(now)
    if query.period_start is not None:
        start = start_of(parse_day_or_instant(query.period_start, "period_start"))
    if query.period_end is not None:
        end = start_of(parse_day_or_instant(query.period_end, "period_end"))
    return usage.check_period(start, end, field="period_end")


def _summary(asked: Asked, found: Summary) -> UsageSummary:
    start, end = asked.period
    return UsageSummary(
        customer_id=asked.customer_id,
        period_start=start,
        period_end=end,
        usage=[_usage(each, bucketed=asked.granularity is not None) for each in found.usage],
        meta=SummaryMeta(
            lag_seconds=found.lag_s,
            queued_events=found.backlog.event_count,
            queued_at_least=found.backlog.at_least,
            quarantined_events=found.backlog.quarantined_events,
        ),
    )


def _usage(found: MetricUsage, *, bucketed: bool) -> UsageOfMetric:
    buckets = [
        UsageBucket(start=each.start, value=each.value, event_count=each.event_count)
        for each in found.buckets
    ]
    return UsageOfMetric(
        metric_key=found.metric_key,
        aggregation=found.aggregation,
        value=found.value,
        event_count=found.event_count,
        buckets=buckets if bucketed else msgspec.UNSET,
        groups=msgspec.UNSET if found.grouped is None else _groups(found.grouped),
        groups_cut_off=msgspec.UNSET if found.grouped is None else found.grouped.cut_off,
    )


def _groups(grouped: Grouped) -> list[UsageGroup]:
    return [
        UsageGroup(group=each.name, value=each.value, event_count=each.event_count)
        for each in grouped.groups
    ]


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/usage/summary",
        handler=summarise,
        scope="read",
        summary="What a customer used, from pre-computed days",
        tag="Usage",
        query=SummaryQuery,
        answers={200: UsageSummary},
        errors=("CUSTOMER_NOT_FOUND", "METRIC_NOT_FOUND"),
    ),
    Endpoint(
        method="POST",
        path="/v1/usage/compute",
        handler=compute,
        scope="read",
        summary="The exact usage of a metric, from raw events",
        tag="Usage",
        body=ComputeRequest,
        answers={200: UsageComputed},
        errors=("CUSTOMER_NOT_FOUND", "METRIC_NOT_FOUND"),
    ),
)
