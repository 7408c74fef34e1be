"""The cache of entitlements, step by step: whatever happens to Redis, nobody is told of yesterday.

Each test puts the events of one race in order; none of them depends on how fast anything is.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from abaxus_core.domain.entitlement_documents import Snapshot, combined
from abaxus_core.kernel.database import Connection
from abaxus_core.services import idempotency
from abaxus_core.services.entitlements import cache as cache_module
from abaxus_core.services.entitlements.access import Asked
from abaxus_core.services.idempotency import Reply, Request
from abaxus_core.services.work import SYSTEM, Work, perform
from tests.integration.catalogue.conftest import Api, growth
from tests.integration.catalogue.conftest import api as api
from tests.integration.catalogue.conftest import catalogue as catalogue
from tests.support.cache_servers import KINDS, CacheServer, cache_server
from tests.support.caching import HASTY_MS, SPACE, Replica, replica
from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually, soon

KEY = f"{SPACE}:live:entitlements:acme"
FEE = [{"pricing_model": "flat_fee", "amount": 1}]
Process = Callable[..., AbstractAsyncContextManager[Replica]]
SHORT = timedelta(milliseconds=300)


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[CacheServer]:
    async with cache_server(request.param) as server:
        yield server


@pytest.fixture
async def acme(catalogue: Api) -> Api:
    """Customer acme may make 100 calls."""
    await grant(catalogue, "a", 100)
    return catalogue


@pytest.fixture
def process(databases: TestDatabases, acme: Api, server: CacheServer) -> Process:
    """What starts another process of this installation."""
    return partial(replica, databases.dsn, acme.context, server)


@pytest.fixture
async def here(process: Process) -> AsyncIterator[Replica]:
    async with process() as here:
        yield here


@pytest.fixture
async def there(process: Process) -> AsyncIterator[Replica]:
    async with process() as there:
        yield there


async def grant(api: Api, plan_id: str, limit: int, **dates: str) -> None:
    """More calls for acme, by a plan of its own, in the database; no cache is told of it."""
    calls = {"feature_key": "calls", "type": "limit", "limit": limit, "metric_key": "calls"}
    sso = {"feature_key": "sso", "type": "boolean", "value": True}
    await api.made("/v1/price-plans", growth(id=plan_id, charges=FEE, entitlements=[calls, sso]))
    body = {"customer_id": "acme", "plan_id": plan_id, "start_date": "2026-05-01", **dates}
    await api.made("/v1/subscriptions", body)


def limit_of(snapshot: Snapshot | None) -> Decimal | None:
    assert snapshot is not None
    (told,) = combined(snapshot, ("calls",), snapshot.as_of)
    return told.limit


async def limit(process: Replica) -> Decimal | None:
    return limit_of(await process.check("acme", "calls"))


async def told(process: Replica, *, waiting: bool = True) -> None:
    await process.context.entitlements.changed({"acme"}, waiting=waiting)


async def test_what_one_process_has_read_another_is_told(here: Replica, there: Replica) -> None:
    read = await here.filled("acme", "calls")
    found = await there.check("acme", "calls")
    assert found is not None
    assert read is not None
    assert (found.document, found.as_of, limit_of(found)) == (read.document, read.as_of, 100)
    assert await there.check("acme", "sso") == found
    assert there.reader.asked == []
    assert there.counted("reads") == {"hit": 2}
    assert here.counted("reads") == {"miss": 1}


async def test_no_value_is_believed_longer_than_its_ttl_from_its_lease_on(
    here: Replica, server: CacheServer
) -> None:
    await reads_slowly(here)
    left_of_lease = await ttl_ms(server)
    await fills(here)
    assert here.counted("fills") == {"stored": 1}
    assert 0 < await ttl_ms(server) <= left_of_lease <= 60_000


async def test_a_value_ends_by_itself(acme: Api, process: Process, server: CacheServer) -> None:
    async with process(ttl=SHORT) as here:
        await here.filled("acme", "calls")
        await grant(acme, "b", 50)

        async def is_new() -> bool:
            return await limit(here) == 150

        await eventually(is_new)


async def reads_slowly(process: Replica) -> None:
    """A check of acme begins a fill, which has read PostgreSQL and waits with what it read."""
    process.reader.fills.clear()
    await process.check("acme", "calls")
    await soon(process.reader.has_read)


async def fills(process: Replica) -> None:
    """What waits is written, if it still may be."""
    process.reader.fills.set()
    await eventually(process.filling_ended)


async def test_a_change_is_seen_by_the_next_check_anywhere(
    acme: Api, here: Replica, there: Replica
) -> None:
    await here.filled("acme", "calls")
    assert await limit(there) == 100
    await grant(acme, "b", 50)
    assert await limit(there) == 100, "else nothing was cached, and this test shows nothing"
    await told(here)
    assert await limit(there) == 150
    assert here.counted("invalidations") == {"confirmed": 1}


async def test_who_read_before_a_change_fills_nothing_after_it(
    acme: Api, here: Replica, there: Replica
) -> None:
    """Lease taken, old grants read, change, invalidation, and only then the fill."""
    await reads_slowly(here)
    await grant(acme, "b", 50)
    await told(there)
    await fills(here)
    assert here.counted("fills") == {"overtaken": 1}
    assert await limit(there) == 150


async def test_a_later_lease_is_not_filled_by_an_earlier_reader(
    acme: Api, here: Replica, there: Replica
) -> None:
    await reads_slowly(here)
    await grant(acme, "b", 50)
    await told(there)
    there.reader.fills.clear()
    assert await limit(there) == 150
    await soon(there.reader.has_read)
    await fills(here)
    assert here.counted("fills") == {"overtaken": 1}
    await fills(there)
    assert there.counted("fills") == {"stored": 1}
    assert await limit(here) == 150


async def test_a_reader_slower_than_the_ttl_fills_nothing(
    acme: Api, process: Process, server: CacheServer
) -> None:
    async with process(ttl=SHORT) as here:
        await reads_slowly(here)

        async def has_ended() -> bool:
            return await server.ask("EXISTS", KEY) == b":0"

        await eventually(has_ended)
        await fills(here)
        assert here.counted("fills") == {"overtaken": 1}


async def test_while_somebody_fills_the_others_wait_for_nobody(
    here: Replica, there: Replica
) -> None:
    await reads_slowly(here)
    assert await limit(there) == 100
    assert await limit(here) == 100
    assert there.counted("reads") == {"unusable": 1}
    assert there.reader.fills_asked() == 0


async def test_after_a_flush_each_customer_is_read_for_the_cache_once(
    here: Replica, there: Replica, server: CacheServer
) -> None:
    await here.filled("acme", "calls")
    await server.flush()
    for process in (here, there):
        process.reader.asked.clear()
        process.reader.fills.clear()
    await here.redis.changes.ask("CONFIG", "RESETSTAT")
    checks = [limit(process) for process in (here, there) for _ in range(20)]
    assert await asyncio.gather(*checks) == [100] * 40
    assert here.reader.fills_asked() + there.reader.fills_asked() == 1
    statistics = (await here.redis.changes.ask("INFO", "commandstats")).reply
    assert isinstance(statistics, bytes)
    leases = re.search(rb"cmdstat_set:calls=(\d+)", statistics)
    assert leases is not None
    assert int(leases[1]) <= 2, "each process asks for one lease"


async def test_a_flush_between_lease_and_fill_leaves_nothing(
    acme: Api, here: Replica, there: Replica, server: CacheServer
) -> None:
    await reads_slowly(here)
    await server.flush()
    await grant(acme, "b", 50)
    await told(there)
    await fills(here)
    assert await limit(there) == 150


async def test_what_a_restarted_server_has_of_its_last_life_is_not_believed(
    acme: Api, here: Replica, server: CacheServer
) -> None:
    await here.filled("acme", "calls")
    assert await server.ask("SAVE") == b"+OK"
    await grant(acme, "b", 50)
    await told(here)
    last_life = here.redis.reads.run_id
    await server.restart()
    assert await server.ask("EXISTS", KEY) == b":1", "else the dump was not loaded"
    assert await limit(here) == 150
    await noticed_all(last_life, here)
    unusable = here.counted("reads")["unusable"]
    assert await limit(here) == 150
    assert here.counted("reads")["unusable"] == unusable + 1


async def test_a_lease_of_a_last_life_fills_nothing_that_is_believed(
    acme: Api, here: Replica, there: Replica, server: CacheServer
) -> None:
    await reads_slowly(here)
    assert await server.ask("SAVE") == b"+OK"
    await grant(acme, "b", 50)
    await told(there)
    last_life = here.redis.reads.run_id
    await server.restart()
    assert await server.ask("EXISTS", KEY) == b":1", "else the dump was not loaded"
    await noticed_all(last_life, here, there)
    await fills(here)
    assert here.counted("fills") == {"stored": 1}
    assert await limit(there) == 150


async def test_a_paused_server_costs_no_answer(
    acme: Api, process: Process, server: CacheServer
) -> None:
    async with process(timeout_ms=HASTY_MS) as here:
        await eventually(has_filled, here)
        server.pause()
        await grant(acme, "b", 50)
        assert await asyncio.gather(*(limit(here) for _ in range(50))) == [150] * 50
        assert here.counted("reads")["away"] == 50
        assert not here.redis.reads.up
        server.resume()
        await eventually(here.up)


async def has_filled(process: Replica) -> bool:
    """Asked again until it is so, since a hasty link may lose patience on a slow machine."""
    await process.check("acme", "calls")
    await eventually(process.filling_ended)
    return process.counted("fills")["stored"] > 0


async def test_without_redis_all_is_answered(acme: Api, here: Replica, server: CacheServer) -> None:
    await here.filled("acme", "calls")
    await server.kill()
    assert await limit(here) == 100
    await grant(acme, "b", 50)
    assert await limit(here) == 150
    assert here.counted("reads") == {"miss": 1, "away": 2}
    await server.start()
    await eventually(here.up)
    assert limit_of(await here.filled("acme", "calls")) == 150
    assert await limit(here) == 150
    assert here.counted("reads")["hit"] == 1


async def test_a_change_that_redis_does_not_confirm_waits_out_the_ttl_from_the_commit(
    acme: Api, process: Process, server: CacheServer
) -> None:
    """There reads by a link that works, what here cannot delete."""
    async with process(ttl=SHORT) as here, process(ttl=SHORT) as there:
        await here.redis.changes.close()
        await grant(acme, "b", 50)
        committed_ns = time.monotonic_ns()
        await there.filled("acme", "calls")
        await told(here)
        assert time.monotonic_ns() - committed_ns >= SHORT / timedelta(microseconds=1) * 1000
        assert await limit(there) == 150
        assert here.counted("invalidations") == {"waited_out": 1}


async def test_a_value_of_before_the_change_has_ended_when_it_is_answered(
    acme: Api, process: Process, server: CacheServer
) -> None:
    async with process(ttl=SHORT) as here, process(ttl=SHORT) as there:
        await here.redis.changes.close()
        await reads_slowly(there)
        await grant(acme, "b", 50)
        answered = asyncio.create_task(told(here))
        await fills(there)
        await answered
        assert await limit(there) == 150


async def test_work_that_nobody_waits_for_only_tries(
    acme: Api, here: Replica, server: CacheServer
) -> None:
    """The TTL is a minute, and a test is given half of it."""
    await here.redis.changes.close()
    async with asyncio.timeout(30):
        await told(here, waiting=False)
    assert here.counted("invalidations") == {"unconfirmed": 1}


async def test_a_server_that_speaks_again_spares_the_wait(
    acme: Api, process: Process, here: Replica, server: CacheServer
) -> None:
    """The TTL is a minute, and a test is given half of it."""
    async with process(timeout_ms=HASTY_MS) as hasty:
        await here.filled("acme", "calls")
        server.pause()
        await grant(acme, "b", 50)
        answered = asyncio.create_task(told(hasty))

        async def gave_up() -> bool:
            return not hasty.redis.changes.up

        await eventually(gave_up)
        assert not answered.done()
        server.resume()
        async with asyncio.timeout(30):
            await answered
        assert await limit(here) == 150
        assert hasty.counted("invalidations") == {"confirmed": 1}


async def test_another_server_than_at_the_commit_confirms_nothing(
    acme: Api, process: Process, server: CacheServer
) -> None:
    async with process(ttl=timedelta(seconds=1)) as here:
        await server.kill()
        answered = asyncio.create_task(told(here))
        await server.start()
        await answered
        assert here.counted("invalidations") == {"waited_out": 1}


async def test_a_replayed_answer_tells_the_cache_again(
    acme: Api, here: Replica, there: Replica
) -> None:
    """The first process dies after its commit, before it has told anybody."""
    request = Request(key_id="k", idempotency_key="i", request_hash=b"h")

    async def change(work: Work) -> Reply:
        work.entitled.add("acme")
        return Reply(status=201, body=b"{}")

    async def first(conn: Connection) -> Reply:
        work = Work(conn, here.context.clock(), here.context.ids, "key_1")
        return await idempotency.once(work, request, change)

    await there.filled("acme", "calls")
    await grant(acme, "b", 50)
    await here.context.database.transaction(first)
    assert await limit(there) == 100, "else nothing was cached, and this test shows nothing"
    again = await perform(here.context, "key_1", lambda w: idempotency.once(w, request, change))
    assert again.replayed
    assert await limit(there) == 150


async def test_a_transaction_that_rolled_back_tells_nobody(here: Replica) -> None:
    async def fail(work: Work) -> None:
        work.entitled.add("acme")
        raise LookupError

    with pytest.raises(LookupError):
        await perform(here.context, SYSTEM, fail)
    assert here.counted("invalidations") == {}


async def test_nothing_is_served_past_the_next_due_change(
    acme: Api, here: Replica, clock: FakeClock
) -> None:
    await grant(acme, "b", 50, start_date="2026-05-20")
    await here.filled("acme", "sso")
    clock.advance(timedelta(days=9))
    assert await sources_of_sso(here) == ("a",)
    assert here.counted("reads")["hit"] == 1
    clock.advance(timedelta(days=1))
    assert await sources_of_sso(here) == ("a", "b")
    assert here.counted("reads")["unusable"] == 1


async def sources_of_sso(process: Replica) -> tuple[str, ...]:
    snapshot = await process.check("acme", "sso")
    assert snapshot is not None
    (told,) = combined(snapshot, ("sso",), snapshot.as_of)
    return told.source_plans


async def test_no_usage_of_a_past_billing_period_is_served(
    acme: Api, here: Replica, clock: FakeClock
) -> None:
    used = {"customer_id": "acme", "metric_key": "calls", "value": 7}
    await acme.used({**used, "idempotency_key": "1", "timestamp": "2026-05-09T00:00:00Z"})
    found = await here.filled("acme", "calls")
    assert found is not None
    assert list(found.used.values()) == [7]
    clock.advance(timedelta(days=30))
    after = await here.check("acme", "calls")
    assert after is not None
    assert list(after.used.values()) == [0]
    assert after.as_of == clock()


async def test_usage_may_lag_and_says_as_of_when_it_is(
    acme: Api, here: Replica, clock: FakeClock
) -> None:
    found = await here.filled("acme", "calls")
    used = {"customer_id": "acme", "metric_key": "calls", "value": 7}
    await acme.used({**used, "idempotency_key": "1", "timestamp": "2026-05-09T00:00:00Z"})
    clock.advance(timedelta(seconds=1))
    assert await here.check("acme", "calls") == found
    fresh = await here.context.entitlements.snapshot(Asked("acme", ("calls",)), fresh=True)
    assert fresh is not None
    assert fresh.as_of == clock()
    assert list(fresh.used.values()) == [7]


async def test_unknown_customers_are_not_cached(
    acme: Api, here: Replica, server: CacheServer
) -> None:
    assert await here.check("nobody", "calls") is None
    await eventually(here.filling_ended)
    assert here.counted("fills") == {}
    await acme.made("/v1/customers", {"id": "nobody"})
    assert await here.check("nobody", "calls") is not None


async def test_installations_and_modes_share_a_server_without_meeting(
    acme: Api, process: Process, here: Replica, server: CacheServer
) -> None:
    await here.filled("acme", "calls")
    async with process(space="abaxus:other") as other:
        await other.filled("acme", "calls")
        assert other.counted("reads") == {"miss": 1}
        await told(other)
    assert await limit(here) == 100
    assert here.counted("reads")["hit"] == 1


@pytest.mark.parametrize("strange", [b"", b"value1:", b"value0:xyz", b"lease:"])
async def test_strange_values_are_nobodys_error(
    here: Replica, server: CacheServer, strange: bytes
) -> None:
    if strange == b"value1:":
        strange += (await here.redis.reads.ask("PING")).run_id + b"\xc1"
    await here.redis.reads.ask("SET", KEY, strange)
    assert await limit(here) == 100
    assert here.counted("reads") == {"unusable": 1}


async def test_a_key_of_another_kind_is_nobodys_error(here: Replica, server: CacheServer) -> None:
    await here.redis.reads.ask("LPUSH", KEY, "x")
    assert await limit(here) == 100
    await told(here)
    assert limit_of(await here.filled("acme", "calls")) == 100


async def test_a_full_server_is_nobodys_error(
    acme: Api, here: Replica, server: CacheServer
) -> None:
    await here.filled("acme", "calls")
    assert await server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction") == b"+OK"
    assert await server.ask("CONFIG", "SET", "maxmemory", "1") == b"+OK"
    await grant(acme, "b", 50)
    await told(here)
    assert await limit(here) == 150
    assert await limit(here) == 150
    assert here.counted("invalidations") == {"confirmed": 1}
    assert here.counted("fills") == {"stored": 1, "refused": 2}
    assert here.redis.reads.up


async def test_what_is_too_large_is_not_cached(
    here: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "VALUE_BYTES_MAX", 10)
    assert await limit(here) == 100
    await eventually(here.filling_ended)
    assert here.counted("fills") == {"too_large": 1}


async def ttl_ms(server: CacheServer) -> int:
    return int((await server.ask("PTTL", KEY)).removeprefix(b":"))


async def noticed_all(run_id: bytes, *processes: Replica) -> None:
    """All links lead to another life of the server than this one."""

    async def have_noticed() -> bool:
        links = [link for each in processes for link in (each.redis.reads, each.redis.changes)]
        return all(link.up and link.run_id != run_id for link in links)

    await eventually(have_noticed)


def documented_rights() -> list[str]:
    """What docs/operations.md tells operators to let our user do."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    found = re.search(r"`(~abaxus:\* [^`]+)`", text)
    assert found is not None
    return found[1].split()


async def test_the_documented_rights_are_enough(
    acme: Api, databases: TestDatabases, server: CacheServer
) -> None:
    rights = ("ACL", "SETUSER", "ours", "on", ">hunter2", *documented_rights())
    assert await server.ask(*rights) == b"+OK"
    url = server.url.replace("//", "//ours:hunter2@").removesuffix("/0") + "/1"
    async with replica(databases.dsn, acme.context, server, url=url) as ours:
        await ours.filled("acme", "calls")
        await told(ours)
        await ours.filled("acme", "calls")
        assert await limit(ours) == 100
        assert ours.counted("reads") == {"miss": 2, "hit": 1}
        assert ours.counted("invalidations") == {"confirmed": 1}
        await ours.redis.reads.ask("PING")
