"""A month's usage of everybody: from rollups, against a loop over raw events.

10 million events of 1,000 customers and 5 metrics over three months, a tenth of them of one
customer, in order of time, in the schema of the migrations. The rollups are what a landing would
have made of them, which is checked; all contenders must come to the same sums.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from statistics import median
from time import perf_counter_ns
from typing import Any

from abaxus_core.kernel.database import Connection, PoolSettings, connect, schema_of
from abaxus_core.kernel.migrations import migrate
from abaxus_core.repositories import events, rollups
from abaxus_core.repositories.events import Aggregate, Window
from benchmarks.report import Figure, at_least, interleaved, median_of, publish, shown
from benchmarks.servers import durable

EVENTS = 10_000_000
CUSTOMERS = 1_000
METRICS = 5
BIG_CUSTOMER = 1
TYPICAL_CUSTOMER = 500
ROUNDS = 3
# As many windows in a statement as an invoice run aggregates.
WINDOWS_AT_ONCE = 10_000
# The loop is measured on the big customer and on every so-many-th window of the others.
SAMPLE_EVERY = 19
# A run of what takes a millisecond is so many in a row.
REPEATS = 50
NS_PER_MS = 1_000_000

START, MIDDLE, END = (
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 2, 15, tzinfo=UTC),
    datetime(2026, 4, 1, tzinfo=UTC),
)
MONTH = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
POOL = PoolSettings(ssl_mode="disable")

MAKE_METRICS = """
    INSERT INTO metrics (metric_id, metric_key, name, aggregation, value_type, created_at)
    SELECT 'met_' || n, 'm' || n, 'm' || n, 'sum', 'decimal', now()
    FROM generate_series(1, $1::integer) AS n
"""
MAKE_CUSTOMERS = """
    INSERT INTO customers (customer_id, metadata, created_at)
    SELECT 'c' || n, '{}', now() FROM generate_series(1, $1::integer) AS n
"""
MAKE_PARTITIONS = """
    SELECT ensure_event_partitions(ARRAY['2026-01-01', '2026-02-01', '2026-03-01']::date[])
"""
FILL_EVENTS = """
    INSERT INTO events (
        customer_no, metric_no, occurred_at, landing_no, arrival_no, payload_hash, value,
        received_at, idempotency_key, properties
    )
    SELECT
        CASE n % 10 WHEN 0 THEN 1 ELSE 2 + (hashint8extended(n, 1) & 65535) % ($4::integer - 1) END,
        1 + (hashint8extended(n, 2) & 65535) % $5::integer,
        $6::timestamptz + ($7::timestamptz - $6::timestamptz) * n / $3::bigint,
        1, n, hashint8extended(n, 3), (hashint8extended(n, 4) & 65535) * 0.01, now(),
        md5(n::text), (ARRAY['{"region": "eu"}', '{"region": "us"}', '{}']::jsonb[])[1 + n % 3]
    FROM generate_series($1::bigint, $2::bigint - 1) AS n
"""
FILL_ROLLUPS = """
    INSERT INTO usage_daily (
        customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min,
        landing_no
    )
    SELECT
        customer_no, metric_no, (occurred_at AT TIME ZONE 'UTC')::date AS day,
        count(*), sum(payload_hash), sum(value), max(value), min(value), 1
    FROM events
    WHERE occurred_at >= $1 AND occurred_at < $2
    GROUP BY customer_no, metric_no, day
    ORDER BY customer_no, metric_no, day
"""
BOOKS = """
    SELECT
        (SELECT ROW(count(*)::numeric, sum(payload_hash), sum(value)) FROM events)
            = (SELECT ROW(sum(event_count), sum(digest), sum(value_sum)) FROM usage_daily) AS agree,
        (SELECT count(*) FROM events) AS events,
        (SELECT count(*) FROM usage_daily) AS days
"""
GROUPED_RAW = """
    SELECT customer_no, metric_no, sum(value) AS value, count(*) AS event_count
    FROM events
    WHERE occurred_at >= $1 AND occurred_at < $2
    GROUP BY customer_no, metric_no
    ORDER BY customer_no, metric_no
"""


def _windows(customers: Sequence[int]) -> list[Window]:
    start, end = MONTH
    return [
        Window(customer_no=customer, metric_no=metric, aggregation="sum", start=start, end=end)
        for customer in customers
        for metric in range(1, METRICS + 1)
    ]


EVERYBODY = _windows(range(1, CUSTOMERS + 1))
BIG = _windows([BIG_CUSTOMER])
TYPICAL = _windows([TYPICAL_CUSTOMER])
SAMPLED = EVERYBODY[len(BIG) :: SAMPLE_EVERY]


async def _fill(dsn: str) -> Any:
    """A connection to the full database; on two others it is filled by halves, at once."""
    await migrate(dsn, POOL)
    conn, other = [await connect(dsn, POOL, schema=schema_of("live")) for _ in range(2)]
    await conn.execute(MAKE_METRICS, METRICS)
    await conn.execute(MAKE_CUSTOMERS, CUSTOMERS)
    await conn.execute(MAKE_PARTITIONS)
    shape = (EVENTS, CUSTOMERS, METRICS, START, END)
    await asyncio.gather(
        conn.execute(FILL_EVENTS, 0, EVENTS // 2, *shape),
        other.execute(FILL_EVENTS, EVENTS // 2, EVENTS, *shape),
    )
    await asyncio.gather(
        conn.execute(FILL_ROLLUPS, START, MIDDLE), other.execute(FILL_ROLLUPS, MIDDLE, END)
    )
    await other.close()
    await conn.execute("VACUUM (ANALYZE)")
    await conn.execute("CHECKPOINT")
    return conn


class _Contenders:
    """Each method is one run; it answers nanoseconds and keeps what it came to in `found`."""

    def __init__(self, runner: asyncio.Runner, conn: Any) -> None:
        self._runner = runner
        self._conn = conn
        self.found: dict[str, list[Aggregate]] = {}

    def rollup(self) -> int:
        return self._timed("rollup", lambda: self._at_once(rollups.aggregate, EVERYBODY))

    def loop(self) -> int:
        """The whole loop: the big customer as it is, the others by their sample."""
        took = self._timed("loop, sampled", lambda: self._one_by_one(SAMPLED))
        others = len(EVERYBODY) - len(BIG)
        return self._timed("loop, big", lambda: self._one_by_one(BIG)) + (
            took * others // len(SAMPLED)
        )

    def raw_statement(self) -> int:
        return self._timed("raw", lambda: self._at_once(_aggregate_raw, EVERYBODY))

    def grouped_raw(self) -> int:
        return self._timed("grouped", self._grouped)

    def big_rollup(self) -> int:
        return self._timed("big rollup", lambda: rollups.aggregate(self._conn, BIG), REPEATS)

    def big_raw(self) -> int:
        return self._timed("big raw", lambda: _aggregate_raw(self._conn, BIG))

    def typical_rollup(self) -> int:
        return self._timed(
            "typical rollup", lambda: rollups.aggregate(self._conn, TYPICAL), REPEATS
        )

    def big_by_region(self) -> int:
        return self._timed("by region", self._by_region)

    def _timed(
        self, name: str, run: Callable[[], Awaitable[list[Aggregate]]], times: int = 1
    ) -> int:
        async def timed() -> int:
            started = perf_counter_ns()
            for _ in range(times):
                self.found[name] = await run()
            return (perf_counter_ns() - started) // times

        return self._runner.run(timed())

    async def _at_once(
        self,
        aggregate: Callable[[Connection, Sequence[Window]], Awaitable[list[Aggregate]]],
        windows: Sequence[Window],
    ) -> list[Aggregate]:
        found: list[Aggregate] = []
        for start in range(0, len(windows), WINDOWS_AT_ONCE):
            found += await aggregate(self._conn, windows[start : start + WINDOWS_AT_ONCE])
        return found

    async def _one_by_one(self, windows: Sequence[Window]) -> list[Aggregate]:
        return [one for window in windows for one in await _aggregate_raw(self._conn, [window])]

    async def _grouped(self) -> list[Aggregate]:
        rows = await self._conn.fetch(GROUPED_RAW, *MONTH)
        return [_summed(row["value"], row["event_count"]) for row in rows]

    async def _by_region(self) -> list[Aggregate]:
        groups = await events.aggregate_groups(self._conn, BIG[0], "region", rows_max=100)
        return [_summed(group.value, group.event_count) for group in groups]


async def _aggregate_raw(conn: Connection, windows: Sequence[Window]) -> list[Aggregate]:
    return await events.aggregate(conn, windows)


def _summed(value: Decimal, event_count: int) -> Aggregate:
    return Aggregate(value=value, event_count=event_count, digest=0)


def _check(found: dict[str, list[Aggregate]]) -> None:
    rolled = found["rollup"]
    assert rolled == found["raw"], "rollups and raw events must come to the same"
    assert rolled[: len(BIG)] == found["loop, big"] == found["big raw"] == found["big rollup"]
    assert rolled[len(BIG) :: SAMPLE_EVERY] == found["loop, sampled"]
    summed = [_summed(each.value, each.event_count) for each in rolled]
    assert summed == found["grouped"], "so must one grouped statement"
    assert sum(each.value for each in found["by region"]) == rolled[0].value


def _share(slow: list[int], fast: list[int]) -> Decimal:
    """Median of the rounds' ratios: what else the machine does weighs on both of a round alike."""
    return median([Decimal(one) / other for one, other in zip(slow, fast, strict=True)])


def _figures(took: dict[str, list[int]], events_stored: int, days: int) -> list[Figure]:
    return [
        shown("events stored", events_stored),
        shown("rows of rollups", days),
        *(shown(f"{name}, ms", median_of(each) / NS_PER_MS) for name, each in took.items()),
        at_least("everybody's month: loop over rollup", _share(took["loop"], took["rollup"]), "50"),
        shown(
            "everybody's month: loop over our raw statement",
            _share(took["loop"], took["raw statement"]),
        ),
        shown("everybody's month: loop over one GROUP BY", _share(took["loop"], took["GROUP BY"])),
        at_least(
            "big customer's month: raw over rollup",
            _share(took["big customer, raw"], took["big customer, rollup"]),
            "200",
        ),
    ]


def main() -> None:
    with durable(SETTINGS) as server, asyncio.Runner() as runner:
        conn: Any = runner.run(_fill(server.dsn()))
        books = runner.run(conn.fetchrow(BOOKS))
        assert books["agree"], "rollups must equal raw events"
        run = _Contenders(runner, conn)
        took = interleaved(
            {
                "rollup": run.rollup,
                "loop": run.loop,
                "raw statement": run.raw_statement,
                "GROUP BY": run.grouped_raw,
                "big customer, rollup": run.big_rollup,
                "big customer, raw": run.big_raw,
                "typical customer, rollup": run.typical_rollup,
                "big customer, a metric by region": run.big_by_region,
            },
            ROUNDS,
        )
        _check(run.found)
        runner.run(conn.close())
    publish(
        f"usage: a month of {len(EVERYBODY):,} sums, the loop measured on"
        f" {len(SAMPLED) + len(BIG)} of them and scaled",
        _figures(took, books["events"], books["days"]),
    )


if __name__ == "__main__":
    main()
