"""Rollups, the raw scan and the domain agree, for every aggregation, however events come."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaxus_core.domain.aggregation import Measurement, aggregate
from abaxus_core.domain.events import Event
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import events, rollups
from abaxus_core.repositories.events import Aggregate, Window
from abaxus_core.services.work import Context
from tests.support.clock import FakeClock
from tests.support.metering import (
    METRICS,
    context_of,
    event,
    land_all,
    make_catalogue,
    offer,
    payload_hash_of,
)

START = datetime(2026, 4, 28, tzinfo=UTC)
HOURS = 24 * 6
KINDS = [metric for metric in METRICS if metric["key"] not in ("whole", "gone")]

values = st.decimals(min_value=-(10**6), max_value=10**6, places=10) | st.integers(-3, 3).map(
    Decimal
)
hours = st.integers(0, HOURS * 4).map(lambda quarter: START + timedelta(minutes=15 * quarter))
users = st.sampled_from(["ann", "bob", 1, 2, True, Decimal("1.5")])
sent = st.lists(st.tuples(values, hours, users), max_size=30)
periods = st.tuples(hours, hours).filter(lambda span: span[0] < span[1])


@pytest.fixture
async def context(live: Database, clock: FakeClock) -> Context:
    await make_catalogue(live, [])
    return context_of(live, clock)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=sent, cuts=st.lists(st.integers(0, 30), max_size=3), period=periods)
async def test_rollups_raw_and_domain_agree(
    context: Context,
    sent: list[tuple[Decimal, datetime, object]],
    cuts: list[int],
    period: tuple[datetime, datetime],
) -> None:
    customer_no = await _new_customer(context)
    await _send(context, customer_no, sent, cuts)
    windows = [_window(customer_no, place, *period) for place in range(len(KINDS))]
    async with context.database.connection() as conn:
        raw = await events.aggregate(conn, windows, None)
        rolled = await rollups.aggregate(conn, windows)
    assert raw == rolled == [_expected(customer_no, kind, sent, period) for kind in KINDS]


def _events(
    customer_no: int, metric_key: str, sent: Sequence[tuple[Decimal, datetime, object]]
) -> list[Event]:
    return [
        event(
            f"{metric_key}-{place}",
            customer_id=f"c{customer_no}",
            metric_key=metric_key,
            value=value,
            timestamp=occurred_at,
            properties={"user": user},
        )
        for place, (value, occurred_at, user) in enumerate(sent)
    ]


async def _send(
    context: Context,
    customer_no: int,
    sent: Sequence[tuple[Decimal, datetime, object]],
    cuts: list[int],
) -> None:
    """In requests and landings that end where `cuts` says, each request twice."""
    bounds = sorted({0, *(min(cut, len(sent)) for cut in cuts), len(sent)})
    of_kinds = [_events(customer_no, str(metric["key"]), sent) for metric in KINDS]
    for first, after in pairwise(bounds):
        request = [each for of_kind in of_kinds for each in of_kind[first:after]]
        for _ in range(2):
            assert await offer(context, *request) == [False] * len(request)
        await land_all(context)
        assert await offer(context, *request) == [True] * len(request)


async def _new_customer(context: Context) -> int:
    async def step(conn: Connection) -> int:
        number: int = await conn.fetchval(
            "INSERT INTO customers (customer_id, metadata, created_at)"
            " SELECT 'c' || count(*) + 1, '{}', $1 FROM customers RETURNING customer_no",
            START,
        )
        return number

    return await context.database.transaction(step)


def _window(customer_no: int, place: int, start: datetime, end: datetime) -> Window:
    metric = KINDS[place]
    return Window(
        customer_no=customer_no,
        metric_no=place + 1,
        aggregation=str(metric["aggregation"]),
        property=metric.get("property"),
        percentile=metric.get("percentile"),
        start=start,
        end=end,
    )


def _expected(
    customer_no: int,
    metric: dict[str, object],
    sent: Sequence[tuple[Decimal, datetime, object]],
    period: tuple[datetime, datetime],
) -> Aggregate:
    metric_no = KINDS.index(metric) + 1
    start, end = period
    inside = [
        (place, each)
        for place, each in enumerate(_events(customer_no, str(metric["key"]), sent))
        if start <= each.timestamp < end
    ]
    measured = [
        Measurement(
            value=each.value,
            occurred_at=each.timestamp,
            arrival=place,
            property=_text(each.properties["user"]),
        )
        for place, each in inside
    ]
    return Aggregate(
        value=aggregate(metric["aggregation"], measured, percentile=metric.get("percentile")),
        event_count=len(inside),
        digest=sum(payload_hash_of(each, metric_no) for _, each in inside),
    )


def _text(user: object) -> str:
    return str(user).lower() if isinstance(user, bool) else str(user)
