"""Rollups, the raw scan and the domain agree, for every aggregation, however events come."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaxus_core.domain.aggregation import ADDITIVE, Measurement, aggregate
from abaxus_core.domain.events import Event
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import events, rollups
from abaxus_core.repositories.events import Aggregate, Group, Window
from abaxus_core.services.landing import Lander
from abaxus_core.services.work import Context
from tests.support.clock import FakeClock
from tests.support.metering import (
    METRICS,
    context_of,
    event,
    fetch,
    make_catalogue,
    offer,
    payload_hash_of,
)

Sent: TypeAlias = tuple[Decimal, datetime, object]
Span: TypeAlias = tuple[datetime, datetime]

KINDS = [metric for metric in METRICS if metric["key"] not in ("whole", "gone")]
# Neighbours across the epochs of Unix and of PostgreSQL, a leap day, and the last days of all,
# some of them too young for a landing to count as late.
DAYS = (
    *(datetime(1969, 12, day, tzinfo=UTC) for day in (30, 31)),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2000, 2, 29, tzinfo=UTC),
    *(datetime(2026, 4, day, tzinfo=UTC) for day in (29, 30)),
    *(datetime(2026, 5, day, tzinfo=UTC) for day in (1, 2, 8, 9, 10)),
)
FEW_OFFSETS = (
    timedelta(),
    timedelta(microseconds=1),
    timedelta(hours=12),
    timedelta(days=1, microseconds=-1),
)
MANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

values = st.decimals(min_value=-(10**6), max_value=10**6, places=10) | st.integers(-3, 3).map(
    Decimal
)
instants = st.builds(
    datetime.__add__,
    st.sampled_from(DAYS),
    st.sampled_from(FEW_OFFSETS) | st.timedeltas(timedelta(), timedelta(days=1)),
).filter(lambda instant: instant <= FakeClock()() + timedelta(hours=24))
users = st.sampled_from(["ann", "bob", 1, 2, True, Decimal("1.5")])
sent_events = st.lists(st.tuples(values, instants, users), max_size=30)
cut_places = st.lists(st.integers(0, 30), max_size=3)
# Drawn before anything is sent: a draw that ends an example would leave what was not landed yet.
shufflers = st.integers(0, 2**32).map(Random)
periods = st.tuples(instants, instants).filter(lambda span: span[0] < span[1])


@pytest.fixture
async def context(live: Database, clock: FakeClock) -> Context:
    await make_catalogue(live, [])
    return context_of(live, clock)


@MANY
@given(
    sent=sent_events,
    cuts=cut_places,
    shuffler=shufflers,
    asked=st.lists(periods, min_size=1, max_size=4),
)
async def test_rollups_raw_and_domain_agree(
    context: Context, sent: list[Sent], cuts: list[int], shuffler: Random, asked: list[Span]
) -> None:
    customer_no = await _new_customer(context)
    await _send(context, customer_no, sent, cuts)
    await _land_in_any_order(context, shuffler)
    windows = [
        _window(customer_no, place, *period) for period in asked for place in range(len(KINDS))
    ]
    async with context.database.connection() as conn:
        raw = await events.aggregate(conn, windows)
        rolled = await rollups.aggregate(conn, windows)
        additive = [window for window in windows if window.aggregation in ADDITIVE]
        recent = await events.aggregate_recent(conn, additive, rows_max=len(sent) + 1)
    expected = [_expected(customer_no, kind, sent, period) for period in asked for kind in KINDS]
    assert raw == rolled == expected
    assert recent == [
        one for one, window in zip(raw, windows, strict=True) if window.aggregation in ADDITIVE
    ]


@MANY
@given(sent=sent_events, cuts=cut_places, shuffler=shufflers)
async def test_every_day_of_the_rollups_is_what_its_raw_events_are(
    context: Context, sent: list[Sent], cuts: list[int], shuffler: Random
) -> None:
    customer_no = await _new_customer(context)
    await _send(context, customer_no, sent, cuts)
    await _land_in_any_order(context, shuffler)
    rolled = await fetch(
        context.database,
        "SELECT metric_no, day, event_count, digest, value_sum, value_max, value_min, last_event,"
        " landing_no, late_landing_no FROM usage_daily WHERE customer_no = $1 ORDER BY 1, 2",
        customer_no,
    )
    raw = await fetch(
        context.database,
        "SELECT metric_no, (occurred_at AT TIME ZONE 'UTC')::date, count(*), sum(payload_hash),"
        " sum(value), max(value), min(value),"
        " max(ARRAY[extract(epoch FROM occurred_at), arrival_no, value])"
        " FILTER (WHERE metric_no = $2), max(landing_no),"
        " max(landing_no) FILTER (WHERE occurred_at < '2026-05-09T00:00:00Z')"
        " FROM events WHERE customer_no = $1 GROUP BY 1, 2 ORDER BY 1, 2",
        customer_no,
        1 + [kind["aggregation"] for kind in KINDS].index("last"),
    )
    assert rolled == raw


@MANY
@given(
    sent=st.lists(st.tuples(values, instants, users), max_size=15),
    regions=st.lists(
        st.sampled_from([{}, {"region": None}, *({"region": it} for it in ("eu", "Eu", "é", 7))]),
        min_size=15,
        max_size=15,
    ),
    period=periods,
)
async def test_groups_and_domain_agree(
    context: Context, sent: list[Sent], regions: list[dict[str, object]], period: Span
) -> None:
    customer_no = await _new_customer(context)
    await offer(context, *_events_of_all_kinds(customer_no, sent, regions))
    await _land(context)
    for place, kind in enumerate(KINDS):
        window = _window(customer_no, place, *period)
        async with context.database.connection() as conn:
            found = await events.aggregate_groups(conn, window, "region", rows_max=100)
        assert found == _expected_groups(customer_no, kind, sent, regions, period)


def _events(customer_no: int, metric_key: str, sent: Sequence[Sent]) -> list[Event]:
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


def _events_of_all_kinds(
    customer_no: int, sent: Sequence[Sent], regions: Sequence[dict[str, object]]
) -> list[Event]:
    return [
        event(
            each.idempotency_key,
            customer_id=each.customer_id,
            metric_key=each.metric_key,
            value=each.value,
            timestamp=each.timestamp,
            properties={**each.properties, **region},
        )
        for kind in KINDS
        for each, region in zip(_events(customer_no, str(kind["key"]), sent), regions, strict=False)
    ]


async def _send(
    context: Context, customer_no: int, sent: Sequence[Sent], cuts: Sequence[int]
) -> None:
    """In requests that end where `cuts` says, each twice."""
    bounds = sorted({0, *(min(cut, len(sent)) for cut in cuts), len(sent)})
    of_kinds = [_events(customer_no, str(kind["key"]), sent) for kind in KINDS]
    for first, after in pairwise(bounds):
        request = [each for of_kind in of_kinds for each in of_kind[first:after]]
        for _ in range(2):
            assert await offer(context, *request) == [False] * len(request)


async def _land_in_any_order(context: Context, shuffler: Random) -> None:
    """A landing for each request, as when several workers overtake each other."""
    waiting = [row for (row,) in await fetch(context.database, "SELECT inbox_id FROM event_inbox")]
    shuffler.shuffle(waiting)
    for chosen in waiting:

        async def hold_the_others(conn: Connection, chosen: object = chosen) -> None:
            await conn.fetch("SELECT FROM event_inbox WHERE inbox_id <> $1 FOR UPDATE", chosen)
            await _land(context)

        await context.database.transaction(hold_the_others)
    assert await fetch(context.database, "SELECT FROM event_inbox") == []


async def _land(context: Context) -> None:
    await Lander(context.database, context.clock).land()


async def _new_customer(context: Context) -> int:
    async def step(conn: Connection) -> int:
        number: int = await conn.fetchval(
            "INSERT INTO customers (customer_id, metadata, created_at)"
            " SELECT 'c' || count(*) + 1, '{}', $1 FROM customers RETURNING customer_no",
            context.clock(),
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
    customer_no: int, kind: dict[str, object], sent: Sequence[Sent], period: Span
) -> Aggregate:
    start, end = period
    placed = enumerate(_events(customer_no, str(kind["key"]), sent))
    inside = [(place, each) for place, each in placed if start <= each.timestamp < end]
    return Aggregate(
        value=_measured(kind, inside),
        event_count=len(inside),
        digest=sum(payload_hash_of(each, KINDS.index(kind) + 1) for _, each in inside),
    )


def _expected_groups(
    customer_no: int,
    kind: dict[str, object],
    sent: Sequence[Sent],
    regions: Sequence[dict[str, object]],
    period: Span,
) -> list[Group]:
    start, end = period
    inside: dict[str | None, list[tuple[int, Event]]] = defaultdict(list)
    for place, each in enumerate(_events(customer_no, str(kind["key"]), sent)):
        if start <= each.timestamp < end:
            inside[_text(regions[place].get("region"))].append((place, each))
    groups = [
        Group(name=name, value=_measured(kind, members), event_count=len(members))
        for name, members in inside.items()
    ]
    return sorted(
        groups, key=lambda group: (-group.event_count, group.name is not None, group.name or "")
    )


def _measured(kind: dict[str, object], placed: Sequence[tuple[int, Event]]) -> Decimal:
    measured = [
        Measurement(
            value=each.value,
            occurred_at=each.timestamp,
            arrival=place,
            property=_text(each.properties["user"]),
        )
        for place, each in placed
    ]
    return aggregate(kind["aggregation"], measured, percentile=kind.get("percentile"))


def _text(value: object) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
