"""Reading usage back: summary, buckets, exact values, the list of events."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from abaxus_core.domain.events import Event
from abaxus_core.errors import InvalidInput, NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import backlog, events, inbox, rollups, watermarks
from abaxus_core.services import usage
from abaxus_core.services.usage import GROUPS_MAX, Asked, Computed, Granularity, Span, Summary
from abaxus_core.services.work import Context
from tests.support.clock import FakeClock
from tests.support.metering import T0, context_of, event, fetch, land_all, make_catalogue, offer
from tests.support.postgres import TestDatabases

MAY: Span = (T0, datetime(2026, 6, 1, tzinfo=UTC))


async def summary(context: Context, period: Span = MAY, **asked: object) -> Summary:
    wanted = Asked(customer_id="acme", period=period, **asked)
    return await context.database.transaction(
        lambda conn: usage.summarise(conn, wanted, now=context.clock()),
        isolation="repeatable_read",
    )


async def computed(context: Context, metric_key: str, period: Span = MAY) -> Computed:
    async with context.database.connection() as conn:
        return await usage.compute(conn, "acme", metric_key, period)


async def listed(context: Context, **asked: object) -> list[str]:
    given = {"metric_key": None, "period": MAY, "before": None, "rows_max": 100, **asked}
    async with context.database.connection() as conn:
        return [row.idempotency_key for row in await usage.list_events(conn, "acme", **given)]


def week() -> list[Event]:
    """Two events a day, at 06:00 and 18:00, worth 1, 2, 3, …"""
    return [
        event(f"k{n}", value=Decimal(n + 1), timestamp=T0 + timedelta(hours=6 + 12 * n))
        for n in range(14)
    ]


async def test_summary_names_the_metrics_with_events(context: Context) -> None:
    await offer(context, event("a", value=Decimal(3)), event("b", metric_key="calls"))
    await offer(context, event("c", timestamp=T0 - timedelta(days=1), metric_key="peak"))
    await land_all(context)
    found = await summary(context)
    assert [(each.metric_key, each.value, each.event_count) for each in found.usage] == [
        ("calls", Decimal(1), 1),
        ("total", Decimal(3), 1),
    ]


async def test_a_metric_without_events_is_zero_when_asked_for(context: Context) -> None:
    found = await summary(context, metric_key="p95")
    assert [(each.value, each.event_count) for each in found.usage] == [(Decimal(0), 0)]


async def test_days_in_part_come_from_raw_events(context: Context) -> None:
    await offer(context, *week())
    await land_all(context)
    noon = timedelta(hours=12)
    found = await summary(context, (T0 + noon, T0 + timedelta(days=3) + noon))
    assert [each.value for each in found.usage] == [Decimal(2 + 3 + 4 + 5 + 6 + 7)]
    within_a_day = await summary(context, (T0 + noon, T0 + timedelta(hours=18)))
    assert within_a_day.usage[0].value == Decimal(0)


@pytest.mark.parametrize(
    ("granularity", "count", "first"), [("day", 7, Decimal(3)), ("hour", 168, Decimal(0))]
)
async def test_buckets_tile_the_period(
    context: Context, granularity: Granularity, count: int, first: Decimal
) -> None:
    await offer(context, *week())
    await land_all(context)
    (total,) = (await summary(context, (T0, T0 + timedelta(days=7)), granularity=granularity)).usage
    assert (len(total.buckets), total.buckets[0].value) == (count, first)
    assert sum(bucket.value for bucket in total.buckets) == total.value == Decimal(105)
    assert sum(bucket.event_count for bucket in total.buckets) == total.event_count == 14


async def test_buckets_begin_and_end_with_the_period(context: Context) -> None:
    await offer(context, *week())
    await land_all(context)
    period = (T0 + timedelta(hours=12), T0 + timedelta(days=2, hours=1))
    (total,) = (await summary(context, period, granularity="day")).usage
    assert [(bucket.start, bucket.value) for bucket in total.buckets] == [
        (period[0], Decimal(2)),
        (T0 + timedelta(days=1), Decimal(7)),
        (T0 + timedelta(days=2), Decimal(0)),
    ]


async def test_too_many_buckets_are_refused(context: Context) -> None:
    with pytest.raises(InvalidInput) as refused:
        await summary(
            context,
            (T0 - timedelta(days=1000), T0),
            metric_key="total",
            granularity="hour",
        )
    assert refused.value.field == "granularity"


async def test_summary_says_what_waits_and_since_when(context: Context, clock: FakeClock) -> None:
    await offer(context, event("a"), event("b"))
    clock.advance(timedelta(seconds=90))
    behind = await summary(context)
    assert (behind.backlog.event_count, behind.lag_s, behind.usage) == (2, 90, [])
    await land_all(context)
    level = await summary(context)
    assert (level.backlog.event_count, level.lag_s, level.usage[0].event_count) == (0, 0, 2)


async def test_what_a_landing_holds_waits_until_it_commits(context: Context) -> None:
    await offer(context, event("a"), event("b"))

    async def landing(conn: Connection) -> Summary:
        assert len(await inbox.claim(conn, events_max=10, bytes_max=10)) == 1
        return await summary(context)

    during = await context.database.transaction(landing)
    assert (during.backlog.event_count, during.usage) == (2, [])


async def test_a_landing_meanwhile_moves_nothing_in_or_out(context: Context) -> None:
    wanted = Asked(customer_id="acme", period=MAY)
    await offer(context, event("a"), event("b"))

    async def reading(conn: Connection) -> Summary:
        assert (await backlog.measure(conn, rows_max=10)).event_count == 2
        await land_all(context)
        return await usage.summarise(conn, wanted, now=context.clock())

    behind = await context.database.transaction(reading, isolation="repeatable_read")
    assert (behind.backlog.event_count, behind.usage) == (2, [])


async def test_the_backlog_is_of_the_mode(
    context: Context, databases: TestDatabases, clock: FakeClock
) -> None:
    await make_catalogue(databases.test)
    await offer(context, event("a"))
    found = await summary(context_of(databases.test, clock))
    assert (found.backlog.event_count, found.lag_s) == (0, 0)


async def test_a_long_backlog_is_counted_in_part_and_says_so(
    context: Context, clock: FakeClock
) -> None:
    await fetch(
        context.database,
        "INSERT INTO event_inbox (event_count, events, received_at)"
        " SELECT 2, '', $1 FROM generate_series(1, $2)",
        clock() - timedelta(hours=1),
        usage.BACKLOG_ROWS_MAX + 5,
    )
    found = await summary(context)
    assert (found.backlog.event_count, found.backlog.at_least) == (2 * usage.BACKLOG_ROWS_MAX, True)
    assert found.lag_s == 3600


async def test_what_was_set_aside_is_told_apart(context: Context) -> None:
    await fetch(
        context.database,
        "INSERT INTO event_inbox (event_count, events, received_at) VALUES (3, 'spoilt', $1)",
        context.clock(),
    )
    await land_all(context)
    waiting = (await summary(context)).backlog
    assert (waiting.event_count, waiting.at_least, waiting.quarantined_events) == (0, False, 3)


async def test_groups_add_up_to_the_whole(context: Context) -> None:
    await offer(
        context,
        event("a", value=Decimal(5), properties={"region": "eu"}),
        event("b", value=Decimal(2), properties={"region": "us"}),
        event("c", value=Decimal(3), properties={"region": "us"}),
        event("d", value=Decimal(7)),
        event("e", value=Decimal(9), timestamp=T0 - timedelta(seconds=1)),
    )
    await land_all(context)
    (total,) = (await summary(context, metric_key="total", group_by="region")).usage
    assert [(each.name, each.value, each.event_count) for each in total.grouped.groups] == [
        ("us", Decimal(5), 2),
        (None, Decimal(7), 1),
        ("eu", Decimal(5), 1),
    ]
    assert (total.value, total.event_count, total.grouped.cut_off) == (Decimal(17), 4, False)


async def test_the_greatest_groups_are_shown_and_the_cut_is_said(context: Context) -> None:
    for first in (0, 500):
        await offer(
            context,
            *(event(f"k{n}", properties={"region": str(n)}) for n in range(first, first + 500)),
        )
    await land_all(context)
    (total,) = (await summary(context, metric_key="total", group_by="region")).usage
    assert (len(total.grouped.groups), total.grouped.cut_off) == (GROUPS_MAX, False)
    await offer(context, *(event(f"x{n}", properties={"region": "zz"}) for n in range(2)))
    await land_all(context)
    (total,) = (await summary(context, metric_key="total", group_by="region")).usage
    assert (len(total.grouped.groups), total.grouped.cut_off) == (GROUPS_MAX, True)
    assert (total.grouped.groups[0].name, total.event_count) == ("zz", GROUPS_MAX + 2)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"group_by": "region"}, "metric_key"),
        ({"group_by": "region", "metric_key": "total", "granularity": "day"}, "granularity"),
    ],
)
async def test_grouping_is_of_one_metric_over_the_whole_period(
    context: Context, asked: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await summary(context, **asked)
    assert refused.value.field == field


async def test_compute_counts_what_arrived_after_the_period(
    context: Context, clock: FakeClock
) -> None:
    april = (datetime(2026, 4, 1, tzinfo=UTC), T0)
    clock.set(T0 - timedelta(hours=1))
    await offer(context, event("in time", timestamp=T0 - timedelta(hours=2)))
    clock.set(T0)
    await offer(context, event("late", timestamp=T0 - timedelta(hours=2), value=Decimal(2)))
    await land_all(context)
    found = await computed(context, "total", april)
    assert (found.aggregate.value, found.aggregate.event_count) == (Decimal(3), 2)
    assert found.late_event_count == 1


async def test_a_watermark_hides_what_landed_after_it(context: Context) -> None:
    await offer(context, event("a"))
    await land_all(context)
    before = await computed(context, "total")
    await offer(context, event("b"))
    await land_all(context)
    async with context.database.connection() as conn:
        window = events.Window(
            customer_no=1, metric_no=1, aggregation="sum", start=MAY[0], end=MAY[1]
        )
        below = msgspec.structs.replace(window, watermark=before.watermark)
        assert await events.aggregate(conn, [below]) == [before.aggregate]
        assert (await events.aggregate(conn, [window]))[0].value == Decimal(2)
        assert await watermarks.read(conn) > before.watermark


async def test_the_last_of_one_instant_is_the_one_that_arrived_last(context: Context) -> None:
    await offer(context, event("a", metric_key="level", value=Decimal(1)))
    await offer(
        context,
        event("b", metric_key="level", value=Decimal(2)),
        event("c", metric_key="level", value=Decimal(3)),
        event("d", metric_key="level", value=Decimal(4), timestamp=T0 - timedelta(seconds=1)),
    )
    await land_all(context)
    await offer(context, event("e", metric_key="level", value=Decimal(5)))
    assert (await computed(context, "level")).aggregate.value == Decimal(3)
    await land_all(context)
    assert (await computed(context, "level")).aggregate.value == Decimal(5)
    assert (await summary(context, metric_key="level")).usage[0].value == Decimal(5)


async def test_every_aggregation_of_an_empty_window_is_zero(context: Context) -> None:
    for metric_key in ("total", "calls", "peak", "low", "level", "users", "p95"):
        found = await computed(context, metric_key)
        assert (found.aggregate.value, found.aggregate.event_count) == (Decimal(0), 0)


async def test_events_are_listed_newest_first_page_by_page(context: Context) -> None:
    await offer(context, *week(), *(event(f"same{n}", metric_key="calls") for n in range(5)))
    await land_all(context)
    async with context.database.connection() as conn:
        seen: list[str] = []
        before = None
        while True:
            rows = await usage.list_events(
                conn, "acme", metric_key=None, period=MAY, before=before, rows_max=4
            )
            if not rows:
                break
            seen += [row.idempotency_key for row in rows]
            before = rows[-1].occurred_at, rows[-1].arrival_no
    assert seen[:14] == [f"k{n}" for n in reversed(range(14))]
    assert sorted(seen[14:]) == [f"same{n}" for n in range(5)]


async def test_events_are_filtered_by_metric_and_period(context: Context) -> None:
    await offer(context, *week(), event("other", metric_key="calls"))
    await land_all(context)
    assert await listed(context, metric_key="calls") == ["other"]
    six = T0 + timedelta(hours=6)
    assert await listed(context, period=(six, six + timedelta(hours=12))) == ["k0"]


async def test_a_listed_event_is_what_was_sent(context: Context) -> None:
    properties = {"user": "u", "ratio": Decimal("0.10"), "tags": ["a", None]}
    await offer(context, event("a", value=Decimal("1.50"), properties=properties))
    await land_all(context)
    async with context.database.connection() as conn:
        (row,) = await usage.list_events(
            conn, "acme", metric_key="total", period=MAY, before=None, rows_max=1
        )
    assert row.properties == '{"tags": ["a", null], "user": "u", "ratio": 0.10}'
    assert (row.value, row.occurred_at, row.received_at) == (Decimal("1.5"), T0, context.clock())


@pytest.mark.parametrize("ask", ["customer", "metric"])
async def test_what_is_unknown_is_not_found(context: Context, ask: str) -> None:
    customer_id, metric_key = ("nobody", "total") if ask == "customer" else ("acme", "nothing")
    async with context.database.connection() as conn:
        with pytest.raises(NotFound) as missing:
            await usage.compute(conn, customer_id, metric_key, MAY)
    assert missing.value.code == f"{ask.upper()}_NOT_FOUND"


async def test_an_empty_period_is_refused() -> None:
    with pytest.raises(InvalidInput):
        usage.check_period(T0, T0, field="period_end")


async def test_days_used_include_both_edges(context: Context) -> None:
    await offer(context, event("a", timestamp=T0 + timedelta(hours=23)))
    await land_all(context)
    async with context.database.connection() as conn:
        for start, end, keys in (
            (T0, T0 + timedelta(hours=1), ["total"]),
            (T0 - timedelta(days=1), T0, []),
            (T0 + timedelta(days=1), T0 + timedelta(days=2), []),
        ):
            assert await rollups.metrics_used(conn, 1, start, end) == keys
    assert await fetch(context.database, "SELECT day FROM usage_daily") == [(date(2026, 5, 1),)]
