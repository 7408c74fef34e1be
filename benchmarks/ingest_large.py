"""Landing beside 20 or 50 million stored events, against landing beside none.

`python -m benchmarks.ingest_large [MILLIONS]` (20 unless said). The stored events have random keys,
the worst that an index can be given, and lie in the month that the landed ones go to. Each side
lands two million events, in turns; both begin after a checkpoint, so both write whole pages anew.
"""

import asyncio
import sys
from decimal import Decimal
from statistics import median

import asyncpg

from benchmarks.ingestion import cluster
from benchmarks.ingestion.child import SCHEMA
from benchmarks.ingestion.cluster import Bench
from benchmarks.report import SECOND_NS, at_least, interleaved, publish, shown

ROUNDS = 10
EVENTS = 200_000
MILLION = 1_000_000
GOALS = {20: "0.85", 50: "0.75"}
NONE, STORED = "beside none", "beside {} million"

STEPS = (
    "ALTER TABLE event_keys DROP CONSTRAINT event_keys_once",
    """
    INSERT INTO event_keys (customer_no, key_high, key_low, payload_hash)
    SELECT customer_no, key_high, key_low, n
    FROM generate_series(1, {count}::bigint) AS n
    CROSS JOIN LATERAL (
        SELECT 1 + n % 1000 AS customer_no, hashint8(n) AS key_high,
            hashint8extended(n, 1) AS key_low
    ) AS key
    ORDER BY customer_no, key_high, key_low
    """,
    """
    ALTER TABLE event_keys
        ADD CONSTRAINT event_keys_once PRIMARY KEY (customer_no, key_high, key_low)
    """,
    """
    INSERT INTO events (
        customer_no, metric_no, occurred_at, landing_no, arrival_no, payload_hash, value,
        received_at, idempotency_key, properties
    )
    SELECT
        1 + n % 1000, 1 + n / 1000 % 5,
        date_trunc('month', now())
            + (now() - date_trunc('month', now())) * (n / {count}.0),
        1, n, n, n % 1000, now(), md5(n::text), '{{"region":"eu-west-1"}}'
    FROM generate_series(1, {count}::bigint) AS n
    ORDER BY 1, 2, 3
    """,
    """
    INSERT INTO usage_daily (
        customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min,
        landing_no
    )
    SELECT customer_no, metric_no, (occurred_at AT TIME ZONE 'UTC')::date AS day, count(*),
        sum(payload_hash), sum(value), max(value), min(value), 1
    FROM events
    GROUP BY customer_no, metric_no, day
    """,
)


def main() -> None:
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else min(GOALS)
    stored = STORED.format(millions)
    with cluster.running() as bench:
        asyncio.run(_fill(bench.dsn(stored), millions * MILLION))
        bench.expect(stored, millions * MILLION)
        bench.dsn(NONE)
        asyncio.run(_checkpoint(bench.dsn(NONE)))
        rates = interleaved(
            {name: lambda name=name: _land(bench, name) for name in (NONE, stored)}, ROUNDS
        )
        asyncio.run(cluster.check_books(bench))
    ratio = Decimal(_total(rates[stored])) / _total(rates[NONE])
    publish(
        f"landing {ROUNDS * EVENTS:,} events, one worker process",
        [
            *(shown(f"{name}, events per second", median(each)) for name, each in rates.items()),
            at_least(f"{stored} / {NONE}", ratio, GOALS.get(millions, "0")),
        ],
    )


def _land(bench: Bench, name: str) -> int:
    bench.queue(name, EVENTS)
    (done,) = bench.run("land", name, EVENTS)
    assert done.count == EVENTS, done
    return done.count * SECOND_NS // done.took_ns


def _total(rates: list[int]) -> int:
    """The rate of all rounds together: the slow ones, after a checkpoint, weigh what they took."""
    return len(rates) * SECOND_NS // sum(SECOND_NS // rate for rate in rates)


async def _fill(dsn: str, count: int) -> None:
    conn = await asyncpg.connect(dsn, server_settings={"search_path": SCHEMA})
    await conn.execute("SET maintenance_work_mem = '1GB'")
    await conn.execute("SET work_mem = '256MB'")
    for step in STEPS:
        await conn.execute(step.format(count=count))
    await conn.execute("VACUUM ANALYZE")
    await conn.execute("CHECKPOINT")
    await conn.close()


async def _checkpoint(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute("CHECKPOINT")
    await conn.close()


if __name__ == "__main__":
    main()
