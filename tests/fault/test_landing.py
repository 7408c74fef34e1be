"""Landing under fire: killed, cut off, without power. Nothing is lost and nothing counts twice."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

from abaxus_core.kernel import embedded_postgres
from abaxus_core.kernel.database import Database, open_databases
from abaxus_core.kernel.embedded_postgres import DURABLE
from abaxus_core.kernel.migrations import migrate
from abaxus_core.services.work import Context
from abaxus_core.worker import landing
from tests.support.clock import FakeClock
from tests.support.metering import T0, context_of, event, fetch, land_all, make_catalogue, offer
from tests.support.postgres import SETTINGS, TestDatabases, temporary_home
from tests.support.waiting import eventually

ROWS = 60
ROW_EVENTS = 500
KILLS = 8
KILL_WITHIN_S = 1.0


async def test_a_killed_worker_loses_and_repeats_nothing(
    durable_databases: TestDatabases, clock: FakeClock
) -> None:
    context = await _loaded(durable_databases.live, clock)
    shuffler = random.Random(7)
    for _ in range(KILLS):
        with _worker(durable_databases.dsn):
            await asyncio.sleep(shuffler.uniform(0, KILL_WITHIN_S))
    await eventually(lambda: _no_other_landing(context.database))
    await land_all(context)
    await _check_exactly_once(context.database)


async def test_two_workers_killed_in_turn_lose_and_repeat_nothing(
    durable_databases: TestDatabases, clock: FakeClock
) -> None:
    context = await _loaded(durable_databases.live, clock)
    for _ in range(KILLS // 2):
        with _worker(durable_databases.dsn), _worker(durable_databases.dsn):
            await asyncio.sleep(KILL_WITHIN_S / 2)
    await eventually(lambda: _no_other_landing(context.database))
    await land_all(context)
    await _check_exactly_once(context.database)


async def test_a_loop_whose_connections_are_cut_goes_on(
    durable_databases: TestDatabases, clock: FakeClock
) -> None:
    context = await _loaded(durable_databases.live, clock)
    stop = asyncio.Event()
    loop = asyncio.create_task(landing.run(context.database, clock, context.telemetry, stop))
    async with open_databases(durable_databases.dsn, SETTINGS) as other:
        for _ in range(KILLS):
            await fetch(
                other.test,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'",
            )
            await asyncio.sleep(0.05)
        await eventually(lambda: _inbox_is_empty(other.live))
        stop.set()
        await loop
        await _check_exactly_once(other.live)


async def test_what_was_accepted_survives_the_loss_of_power(clock: FakeClock) -> None:
    with temporary_home() as home:
        with embedded_postgres.running(home, profile=DURABLE) as server:
            await migrate(server.dsn(), SETTINGS)
            async with open_databases(server.dsn(), SETTINGS) as databases:
                await make_catalogue(databases.live)
                await offer(context_of(databases.live, clock), event("a"), event("b"))
                os.kill(server.pid, signal.SIGQUIT)
        with embedded_postgres.running(home, profile=DURABLE) as server:
            async with open_databases(server.dsn(), SETTINGS) as databases:
                context = context_of(databases.live, clock)
                assert [landed.stored_count for landed in await land_all(context)] == [2]


async def _loaded(database: Database, clock: FakeClock) -> Context:
    """ROWS requests, every third of which repeats an earlier one under other timestamps."""
    await make_catalogue(database)
    context = context_of(database, clock)
    for row in range(ROWS):
        first = row - 2 if row % 3 == 2 else row
        await offer(
            context,
            *(
                event(
                    f"k{first}-{n}",
                    value=Decimal(n),
                    timestamp=T0 - timedelta(hours=n, minutes=row),
                )
                for n in range(ROW_EVENTS)
            ),
        )
    return context


async def _check_exactly_once(database: Database) -> None:
    count = ROWS * 2 // 3 * ROW_EVENTS
    total = Decimal(ROWS * 2 // 3 * sum(range(ROW_EVENTS)))
    assert await fetch(
        database, "SELECT count(*), count(DISTINCT idempotency_key), sum(value) FROM events"
    ) == [(count, count, total)]
    assert await fetch(database, "SELECT count(*) FROM event_keys") == [(count,)]
    assert await fetch(
        database, "SELECT count(*) FROM event_inbox UNION ALL SELECT count(*) FROM event_quarantine"
    ) == [(0,), (0,)]
    raw = await fetch(
        database,
        "SELECT (occurred_at AT TIME ZONE 'UTC')::date, count(*), sum(payload_hash), sum(value)"
        " FROM events GROUP BY 1 ORDER BY 1",
    )
    rolled = await fetch(
        database, "SELECT day, event_count, digest, value_sum FROM usage_daily ORDER BY day"
    )
    assert rolled == raw


@contextmanager
def _worker(dsn: str) -> Iterator[None]:
    """A landing process that has begun; killed on the way out."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.landing_process", dsn],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def _no_other_landing(database: Database) -> bool:
    """PostgreSQL notices a dead client when it next writes to it."""
    return (
        await fetch(
            database,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle' AND backend_type = 'client backend'",
        )
        == []
    )


async def _inbox_is_empty(database: Database) -> bool:
    return await fetch(database, "SELECT 1 FROM event_inbox LIMIT 1") == []
