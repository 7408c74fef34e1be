"""A process that gets ready, waits to be told to go, does one part and says how it went.

`python -m benchmarks.ingestion.child PART DSN RUN COUNT [MORE]` prints `ready`, waits for a line,
and prints a `Done` as JSON.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from statistics import quantiles
from time import perf_counter_ns
from typing import Any, TypeAlias

import asyncpg
import msgspec

from abaxus_core.http import codec, quick_events
from abaxus_core.http.events import batch_accepted
from abaxus_core.kernel import log
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import Database, PoolSettings, open_databases
from abaxus_core.services.ingestion import Intake
from abaxus_core.services.landing import Lander
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.worker.landing import LANDINGS_AT_ONCE
from benchmarks.ingestion import feed
from benchmarks.ingestion.feed import Made

POOL = PoolSettings(ssl_mode="disable", connections_max=70)
COPIED_AT_ONCE = 20_000
IN_FLIGHT = 4
BACKLOG_MAX = 1_000_000_000
BACKLOG_AGE_MAX = timedelta(days=1)
SCHEMA = "abaxus_live"
INSERT = "INSERT INTO event_inbox (event_count, events, received_at) VALUES (1, $1, $2)"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """`sent` counts the warm-up too, `took_ns` is from go to done, `p99_ns` of single requests."""

    count: int
    sent: int
    took_ns: int
    p99_ns: int = 0


Part: TypeAlias = Callable[[str, str, int, str], Awaitable[Done]]


def _go() -> int:
    print("ready", flush=True)
    sys.stdin.readline()
    return perf_counter_ns()


def _done(
    count: int, since_ns: int, took_each_ns: list[int] | None = None, *, warm_up: int = 0
) -> Done:
    return Done(
        count=count,
        sent=warm_up + count,
        took_ns=perf_counter_ns() - since_ns,
        p99_ns=int(quantiles(took_each_ns, n=100)[-1]) if took_each_ns else 0,
    )


async def copy(dsn: str, run: str, count: int, _more: str) -> Done:
    """The baseline: a bare COPY into the events table with its indexes, and nothing else."""
    conn = await asyncpg.connect(dsn, server_settings={"search_path": SCHEMA})
    records = [feed.record(event, place) for place, event in enumerate(feed.made(run, count))]
    since_ns = _go()
    for start in range(0, count, COPIED_AT_ONCE):
        await conn.copy_records_to_table(
            "events", records=records[start : start + COPIED_AT_ONCE], columns=feed.COLUMNS
        )
    done = _done(count, since_ns)
    await conn.close()
    return done


async def land(dsn: str, _run: str, _count: int, _more: str) -> Done:
    """What a worker does with what waits in the inbox, until nothing does."""
    async with open_databases(dsn, POOL) as databases:
        landers = [Lander(databases.live, system_clock) for _ in range(LANDINGS_AT_ONCE)]
        since_ns = _go()
        stored = await asyncio.gather(*map(_land_all, landers))
        return _done(sum(stored), since_ns)


async def _land_all(lander: Lander) -> int:
    stored = 0
    while (landed := await lander.land()).row_count:
        stored += landed.stored_count
    return stored


async def accept(dsn: str, run: str, count: int, _more: str) -> Done:
    """Batches from the bytes of the body to the bytes of the answer, durable in between."""
    bodies = [feed.body(batch) for batch in feed.batches(feed.made(run, count))]
    async with open_databases(dsn, POOL) as databases:
        intake = _intake(databases.live)
        await _accept_all(intake, [feed.body(feed.everybody("warm-up" + run))])
        since_ns = _go()
        await _accept_all(intake, bodies)
        return _done(count, since_ns, warm_up=feed.BATCH)


async def _accept_all(intake: Intake, bodies: list[bytes]) -> None:
    waiting = iter(bodies)

    async def caller() -> None:
        for body in waiting:
            events = quick_events.read_batch(body)
            assert events is not None, "the feed is of the ordinary form"
            answer = batch_accepted(events, await intake.accept(events), "queued")
            assert answer.accepted == len(events)
            codec.encode(answer)

    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))


async def grouped(dsn: str, run: str, count: int, clients: str) -> Done:
    """Single events, as many at once as there are clients, through the group commit."""
    async with open_databases(dsn, POOL) as databases:
        intake = _intake(databases.live)
        events = [_event(each) for each in feed.made(run, count)]

        async def one(event: Any) -> None:
            result = await intake.accept_one(event)
            assert not result.duplicate

        warm_up = feed.everybody("warm-up" + run)
        await _accept_all(intake, [feed.body(warm_up)])
        return await _singles(events, one, int(clients), warm_up=len(warm_up))


async def separate(dsn: str, run: str, count: int, clients: str) -> Done:
    """The same with one INSERT per request, each a commit, on pooled connections."""
    async with open_databases(dsn, POOL) as databases:
        live = databases.live

        async def one(event: Made) -> None:
            row = msgspec.json.encode([feed.queued(event)])
            async with live.connection() as conn:
                await conn.execute(INSERT, row, system_clock())

        return await _singles(feed.made(run, count), one, int(clients))


async def _singles(
    events: list[Any], one: Callable[[Any], Awaitable[None]], clients: int, *, warm_up: int = 0
) -> Done:
    waiting, took_ns = iter(events), []

    async def client(mine: Iterable[Any]) -> None:
        for event in mine:
            since_ns = perf_counter_ns()
            await one(event)
            took_ns.append(perf_counter_ns() - since_ns)

    since_ns = _go()
    await asyncio.gather(*(client(waiting) for _ in range(clients)))
    return _done(len(events), since_ns, took_ns, warm_up=warm_up)


def _event(event: Made) -> Any:
    read = quick_events.read_event(feed.item(event))
    assert read is not None, "the feed is of the ordinary form"
    return read


def _intake(database: Database) -> Intake:
    return Intake(
        database,
        system_clock,
        Telemetry(),
        backlog_max=BACKLOG_MAX,
        backlog_age_max=BACKLOG_AGE_MAX,
    )


PARTS: dict[str, Part] = {each.__name__: each for each in (copy, land, accept, grouped, separate)}


def main() -> None:
    part, dsn, run, count, *more = sys.argv[1:]
    log.configure("warning", "json")
    done = asyncio.run(PARTS[part](dsn, run, int(count), "".join(more)))
    print(msgspec.json.encode(done).decode())


if __name__ == "__main__":
    main()
