"""What could not land: set aside whole, listed, landed once when its cause is gone."""

import asyncio
import json
import subprocess
import sys
from asyncio import to_thread
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from abaxus_core.kernel.database import Database
from abaxus_core.kernel.ids import Ids
from abaxus_core.repositories.quarantine import SetAside
from abaxus_core.services import quarantine
from abaxus_core.services.landing import Landed
from abaxus_core.services.work import Context
from tests.support.clock import FakeClock
from tests.support.metering import event, fetch, land_all, make_catalogue, offer
from tests.support.postgres import TestDatabases

STORED = "SELECT idempotency_key FROM events ORDER BY 1"
BROKEN = b"[[1,"


async def forbid(database: Database, key: str) -> None:
    """Let the events table refuse a key, so that its row cannot land."""
    await fetch(
        database,
        f"ALTER TABLE events ADD CONSTRAINT unlucky CHECK (idempotency_key <> '{key}')",
    )


async def allow(database: Database) -> None:
    await fetch(database, "ALTER TABLE events DROP CONSTRAINT unlucky")


async def append_broken(database: Database, clock: FakeClock) -> None:
    """A row of the inbox that no release can read."""
    await fetch(
        database,
        "INSERT INTO event_inbox (event_count, events, received_at) VALUES (3, $1, $2)",
        BROKEN,
        clock(),
    )


async def listed(context: Context) -> list[SetAside]:
    return [row async for row in quarantine.everything(context.database)]


async def retry(context: Context, inbox_ids: Sequence[int]) -> list[Landed]:
    found = quarantine.retry(context.database, context.clock, Ids(context.clock), inbox_ids)
    return [landed async for _, landed in found]


async def test_a_row_is_stored_once_when_its_cause_is_gone(
    context: Context, clock: FakeClock
) -> None:
    accepted_at = clock()
    await forbid(context.database, "b")
    await offer(context, event("a"), event("b"))
    await offer(context, event("c"))
    await append_broken(context.database, clock)
    await land_all(context)
    assert await fetch(context.database, STORED) == [("c",)]
    unlucky, broken = await listed(context)
    assert (unlucky.event_count, unlucky.received_at) == (2, accepted_at)
    assert unlucky.error.startswith("CheckViolationError: ")
    assert (broken.event_count, broken.error.split(":")[0]) == (3, "DecodeError")

    clock.advance(timedelta(days=3))
    both = [unlucky.inbox_id, broken.inbox_id]
    assert [one.quarantined_count for one in await retry(context, both)] == [1, 1]
    assert await fetch(context.database, STORED) == [("c",)]
    assert [row.quarantined_at for row in await listed(context)] == [clock(), clock()]

    await allow(context.database)
    landed, stayed, unknown = await retry(context, [*both, 12345])
    assert (landed.row_count, landed.stored_count, landed.quarantined_count) == (1, 2, 0)
    assert stayed.quarantined_count == 1
    assert unknown == Landed()
    assert [row.inbox_id for row in await listed(context)] == [broken.inbox_id]
    assert await fetch(context.database, STORED) == [("a",), ("b",), ("c",)]
    assert await fetch(
        context.database,
        "SELECT arrival_no, received_at FROM events WHERE idempotency_key = 'b'",
    ) == [(unlucky.inbox_id * 1000 + 1, accepted_at)]
    assert await fetch(context.database, "SELECT sum(event_count) FROM usage_daily") == [(3,)]
    assert await retry(context, [unlucky.inbox_id]) == [Landed()]


async def test_what_is_broken_is_kept_whole(context: Context, clock: FakeClock) -> None:
    await append_broken(context.database, clock)
    await land_all(context)
    (row,) = await listed(context)
    await retry(context, [row.inbox_id])
    assert await fetch(context.database, "SELECT inbox_id, events FROM event_quarantine") == [
        (row.inbox_id, BROKEN)
    ]


async def test_two_retries_at_once_store_it_once(context: Context) -> None:
    await forbid(context.database, "a")
    await offer(context, event("a"))
    await land_all(context)
    (row,) = await listed(context)
    await allow(context.database)
    (one,), (other,) = await asyncio.gather(
        retry(context, [row.inbox_id]), retry(context, [row.inbox_id])
    )
    assert {one.stored_count, other.stored_count} == {0, 1}
    assert await fetch(context.database, STORED) == [("a",)]
    assert await fetch(context.database, "SELECT sum(event_count) FROM usage_daily") == [(1,)]


async def test_what_was_sent_again_meanwhile_is_known(context: Context) -> None:
    await forbid(context.database, "a")
    await offer(context, event("a"), event("same"), event("other"))
    await land_all(context)
    await offer(context, event("same"), event("other", value=Decimal(7)))
    await land_all(context)
    await allow(context.database)
    (row,) = await listed(context)
    (landed,) = await retry(context, [row.inbox_id])
    assert (landed.stored_count, landed.conflict_count) == (1, 1)
    assert await fetch(context.database, STORED) == [("a",), ("other",), ("same",)]


async def test_the_one_accepted_last_stays_the_last(context: Context) -> None:
    await forbid(context.database, "first")
    await offer(context, event("first", metric_key="level", value=Decimal(1)))
    await offer(context, event("second", metric_key="level", value=Decimal(2)))
    await land_all(context)
    (row,) = await listed(context)
    await allow(context.database)
    await retry(context, [row.inbox_id])
    assert await fetch(context.database, "SELECT last_event[3] FROM usage_daily") == [(2,)]


async def test_everything_is_listed_page_by_page(context: Context, clock: FakeClock) -> None:
    await fetch(
        context.database,
        "INSERT INTO event_quarantine"
        " SELECT n, 1, 'x'::bytea, $1, 'broken', $1 FROM generate_series(1, $2) AS n",
        clock(),
        quarantine.PAGE_MAX * 2,
    )
    listing = await listed(context)
    assert [row.inbox_id for row in listing] == list(range(1, quarantine.PAGE_MAX * 2 + 1))


async def test_landing_it_is_recorded_and_trying_is_not(context: Context) -> None:
    await forbid(context.database, "a")
    await offer(context, event("a"), event("b"))
    await land_all(context)
    (row,) = await listed(context)
    await retry(context, [row.inbox_id])
    await allow(context.database)
    await retry(context, [row.inbox_id])
    recorded = await fetch(
        context.database,
        "SELECT actor, action, object_id, data FROM audit_log WHERE object_type = 'quarantine'",
    )
    assert recorded == [
        ("system", "quarantine.landed", str(row.inbox_id), '{"events": 2, "stored": 2}')
    ]


def command(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`abaxus events quarantine` with what it needs and nothing else."""
    return subprocess.run(
        [sys.executable, "-m", "abaxus_core.cli", "events", "quarantine", *arguments],
        env={"DATABASE_URL": dsn, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_the_commands_list_and_retry(
    databases: TestDatabases, context: Context, clock: FakeClock
) -> None:
    dsn = databases.dsn
    await forbid(context.database, "a")
    await offer(context, event("a"), event("b"))
    await append_broken(context.database, clock)
    await land_all(context)
    unlucky, broken = await listed(context)

    shown = await to_thread(command, dsn, "list")
    as_json = await to_thread(command, dsn, "list", "--json")
    assert shown.returncode == as_json.returncode == 0, shown.stderr + as_json.stderr
    heading, *lines = shown.stdout.splitlines()
    assert heading.split() == ["inbox_id", "events", "received", "quarantined", "error"]
    first, second = (line for line in lines if not line.startswith(" "))
    assert first.split()[:3] == [str(unlucky.inbox_id), "2", "2026-05-10"]
    assert "CheckViolationError" in first
    assert "DecodeError" in second
    objects = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [one["inbox_id"] for one in objects] == [unlucky.inbox_id, broken.inbox_id]
    assert objects[0]["received_at"] == "2026-05-10T12:00:00Z"

    await allow(context.database)
    retried = await to_thread(command, dsn, "retry", "--all")
    assert (retried.returncode, retried.stdout) == (1, "1 rows landed, 2 events stored\n")
    told = retried.stderr.splitlines()
    assert told[-1] == f"{broken.inbox_id} still cannot land; list says why"
    assert await fetch(context.database, STORED) == [("a",), ("b",)]

    again = await to_thread(command, dsn, "retry", str(unlucky.inbox_id))
    assert (again.returncode, again.stderr) == (
        1,
        f"{unlucky.inbox_id} is not in the quarantine\n",
    )
    assert (await to_thread(command, dsn, "retry")).returncode == 2


async def test_the_commands_see_the_mode_they_are_told(
    databases: TestDatabases, context: Context, clock: FakeClock
) -> None:
    await make_catalogue(databases.test)
    await append_broken(context.database, clock)
    await land_all(context)
    in_test_mode = await to_thread(command, databases.dsn, "list", "--json", "--mode", "test")
    retried = await to_thread(command, databases.dsn, "retry", "--all", "--mode", "test")
    assert in_test_mode.stdout == ""
    assert (retried.returncode, retried.stdout) == (0, "0 rows landed, 0 events stored\n")
    assert len(await listed(context)) == 1
