"""API and worker killed at random under load: what was acknowledged is stored, once."""

import asyncio
import random
from collections import Counter

from abaxus_core.kernel.database import Database
from tests.support.api import new_key
from tests.support.clock import FakeClock
from tests.support.feeding import Feeder, check_exactly_once
from tests.support.fleet import Fleet, Member, fleet
from tests.support.metering import context_of, fetch, make_catalogue
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

ROUNDS = 100
SEED = 20_260_501
SENDERS = 8
ACKNOWLEDGED_MAX = 3
LANDINGS_MAX = 1
MOMENT_MAX_MS = 30


async def test_killed_at_random_nothing_is_lost_and_nothing_counts_twice(
    durable_databases: TestDatabases, clock: FakeClock
) -> None:
    live = durable_databases.live
    await make_catalogue(live)
    key = await new_key(context_of(live, clock), "ingest")
    async with fleet(durable_databases.dsn) as up:
        members = [await up.listening_api(), await up.listening_api()]
        members += [await up.worker(), await up.worker()]
        ports = [member.port for member in members if member.port]
        feeder = Feeder(up, key, ports, random.Random(SEED))
        stop = asyncio.Event()
        senders = [asyncio.create_task(feeder.feed(stop)) for _ in range(SENDERS)]
        killed = await _storm(up, members, feeder, live)
        stop.set()
        await asyncio.gather(*senders)
        await eventually(_inbox_is_empty, live)
    await check_exactly_once(live, feeder)
    assert killed.total() == ROUNDS
    assert min(killed.values()) > ROUNDS // 4
    assert feeder.interrupted > 0


async def _storm(up: Fleet, members: list[Member], feeder: Feeder, live: Database) -> Counter[str]:
    """Kill one member a round, at any moment after those alive have got something done, and put
    another in its place; return how many of each kind were killed."""
    dice = random.Random(SEED + 1)
    killed: Counter[str] = Counter()
    for _ in range(ROUNDS):
        acknowledged = feeder.acknowledged + dice.randint(0, ACKNOWLEDGED_MAX)
        landed = await _landings(live) + dice.randint(0, LANDINGS_MAX)
        await eventually(_have_got_to, feeder, live, acknowledged, landed)
        await asyncio.sleep(dice.uniform(0, MOMENT_MAX_MS) / 1000)
        place = dice.randrange(len(members))
        await up.kill(members[place])
        killed[members[place].kind] += 1
        members[place] = await up.again(members[place])
    return killed


async def _have_got_to(feeder: Feeder, live: Database, acknowledged: int, landed: int) -> bool:
    return feeder.acknowledged >= acknowledged and await _landings(live) >= landed


async def _landings(live: Database) -> int:
    ((landing_no,),) = await fetch(live, "SELECT last_value FROM landing_numbers")
    assert isinstance(landing_no, int)
    return landing_no


async def _inbox_is_empty(live: Database) -> bool:
    return await fetch(live, "SELECT 1 FROM event_inbox LIMIT 1") == []
