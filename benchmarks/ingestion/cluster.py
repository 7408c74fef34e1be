"""The cluster of a run: a database for each contender, its catalogue, its books at the end."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import asyncpg
import msgspec

from abaxus_core.kernel import migrations
from abaxus_core.kernel.embedded_postgres import Server
from abaxus_core.repositories import inbox
from benchmarks.ingestion import feed
from benchmarks.ingestion.child import BACKLOG_MAX, POOL, SCHEMA, Done
from benchmarks.servers import durable

SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

CUSTOMERS = """
    INSERT INTO customers (customer_id, metadata, created_at)
    SELECT 'customer-' || to_char(n, 'FM0000'), '{}', now()
    FROM generate_series(1, $1::integer) AS n
"""
METRICS = """
    INSERT INTO metrics (metric_id, metric_key, name, aggregation, value_type, created_at)
    SELECT 'met_' || n, 'metric-' || n, 'metric-' || n, 'sum', 'decimal', now()
    FROM generate_series(1, $1::integer) AS n
"""
PARTITIONS = """
    SELECT ensure_event_partitions(ARRAY[
        date_trunc('month', now() - INTERVAL '1 day')::date, date_trunc('month', now())::date
    ])
"""
BOOKS = """
    SELECT
        (SELECT count(*) FROM events) AS stored,
        (SELECT count(*) FROM event_keys) AS keys,
        (SELECT coalesce(sum(event_count), 0) FROM event_inbox) AS waiting,
        (SELECT coalesce(sum(event_count), 0) FROM usage_daily) AS rolled,
        (SELECT coalesce(sum(value), 0) FROM events)
            = (SELECT coalesce(sum(value_sum), 0) FROM usage_daily) AS sums_agree,
        (SELECT coalesce(sum(payload_hash), 0) FROM events)
            = (SELECT coalesce(sum(digest), 0) FROM usage_daily) AS digests_agree
"""


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What a database holds, counted."""

    stored: int
    keys: int
    waiting: int
    rolled: int
    sums_agree: bool
    digests_agree: bool


class Bench:
    """A running cluster; every name has a database, made when it is first used."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sent: dict[str, int] = {}
        self._runs = 0

    def dsn(self, name: str) -> str:
        database = _database(name)
        if name not in self.sent:
            asyncio.run(_make(self.server.dsn(), database, self.server.dsn(database)))
            self.sent[name] = 0
        return self.server.dsn(database)

    def run(
        self, part: str, name: str, count: int, *, processes: int = 1, more: str = ""
    ) -> list[Done]:
        """Run a part in that many processes at once, each with `count` events."""
        dsn = self.dsn(name)
        self._runs += 1
        children = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.ingestion.child"),
                    *(part, dsn, f"{self._runs}-{place}", str(count), more),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for place in range(processes)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", "the child did not get ready"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        return [msgspec.json.decode(child.communicate()[0], type=Done) for child in children]

    def queue(self, name: str, count: int) -> None:
        """Let events wait in the inbox."""
        dsn = self.dsn(name)
        self._runs += 1
        asyncio.run(_queue(dsn, feed.made(f"queued {self._runs}", count)))
        self.sent[name] += count

    def next_run(self) -> str:
        self._runs += 1
        return str(self._runs)

    def expect(self, name: str, count: int) -> None:
        """So many more events must be stored in the end."""
        self.sent[name] += count


@contextmanager
def running() -> Iterator[Bench]:
    """A fresh durable cluster."""
    with durable(SETTINGS) as server:
        yield Bench(server)


async def check_books(bench: Bench) -> None:
    """Fail unless what was accepted is stored or waits, once, and the rollups equal raw events.

    A bare COPY stores events and nothing else.
    """
    for name, count in bench.sent.items():
        books = await _books(bench.server.dsn(_database(name)))
        assert books.stored + books.waiting == count, (name, count, books)
        if books.keys:
            assert books.waiting == 0, (name, books)
            assert books.stored == books.keys == books.rolled, (name, books)
            assert books.sums_agree, (name, books)
            assert books.digests_agree, (name, books)


def _database(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower())


async def _make(admin_dsn: str, database: str, dsn: str) -> None:
    conn = await asyncpg.connect(admin_dsn)
    await conn.execute(f'CREATE DATABASE "{database}"')
    await conn.close()
    await migrations.migrate(dsn, POOL)
    conn = await _connect(dsn)
    await conn.execute(CUSTOMERS, feed.CUSTOMERS)
    await conn.execute(METRICS, feed.METRICS)
    await conn.execute(PARTITIONS)
    await conn.close()


async def _queue(dsn: str, events: list[feed.Made]) -> None:
    conn = await _connect(dsn)
    for batch in feed.batches(events):
        await inbox.append(
            conn,
            {feed.identity(each): feed.queued(each) for each in batch},
            datetime.now(UTC),
            backlog_max=BACKLOG_MAX,
            oldest_min=LONG_AGO,
        )
    await conn.close()


async def _books(dsn: str) -> Books:
    conn = await _connect(dsn)
    row = await conn.fetchrow(BOOKS)
    await conn.close()
    return Books(**dict(row))


async def _connect(dsn: str) -> asyncpg.Connection:
    return await asyncpg.connect(dsn, server_settings={"search_path": SCHEMA})
