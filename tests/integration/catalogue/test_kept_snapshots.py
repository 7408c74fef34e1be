"""Checks answered by what a process has kept, and each way in which that is true no longer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from abaxus_core.domain.entitlement_documents import Snapshot, combined
from abaxus_core.domain.entitlements import Combined
from abaxus_core.services import upkeep
from abaxus_core.services.entitlements import change_feed, kept_snapshots
from abaxus_core.services.entitlements.access import Asked, Entitlements
from abaxus_core.services.entitlements.kept_snapshots import KeptSnapshots
from abaxus_core.services.entitlements.stored import Stored
from tests.integration.catalogue.conftest import Api
from tests.integration.catalogue.test_entitlement_lane import counted
from tests.integration.catalogue.test_entitlements import call, limit, sso, subscribed
from tests.support.clock import FakeClock
from tests.support.locks import holding
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

ADD_SIXTY_NINE = "UPDATE usage_daily SET value_sum = value_sum + 69"
NOBODY_HEARS = "LOCK TABLE entitlement_changes IN ACCESS EXCLUSIVE MODE"
CHECK = "/v1/entitlements/check?customer_id=acme&feature_key=calls"


class Reads:
    """Reads PostgreSQL, and counts how often; `just_before` the next read something comes once, and
    `meanwhile`, once it has seen the database."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.count = 0
        self.just_before: Callable[[], Awaitable[object]] | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        self.count += 1
        just_before, self.just_before = self.just_before, None
        if just_before is not None:
            await just_before()
        found = await self.stored.read(asked)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return found


class Process:
    """Checks acme, with what it keeps."""

    def __init__(self, api: Api) -> None:
        context = api.context
        stored = Stored(context.database, context.clock, context.telemetry)
        self.reads = Reads(stored)
        self.kept = KeptSnapshots(self.reads, context.database, context.clock, context.telemetry)

    async def check(self, feature_key: str = "calls") -> Combined:
        (found,) = await self.kept.read([Asked("acme", (feature_key,))])
        if isinstance(found, Exception):
            raise found
        assert found is not None
        return combined(found, (feature_key,), found.as_of)[0]

    async def used(self) -> int:
        return int((await self.check()).current_usage or 0)


@pytest.fixture
async def process(catalogue: Api, monkeypatch: pytest.MonkeyPatch) -> Process:
    """acme has sso and has used 30 of 100 calls; what was asked is kept."""
    monkeypatch.setattr(change_feed, "REST_S", 0)
    monkeypatch.setattr(change_feed, "FOLLOW_EVERY_MS", 3_600_000)
    await subscribed(catalogue, "a", limit(100), sso(True))
    await catalogue.used(call("1", 30, "2026-05-02T00:00:00Z"))
    process = Process(catalogue)
    assert await process.used() == 30
    assert (await process.check("sso")).granted
    return process


async def test_what_was_asked_is_not_read_again(process: Process) -> None:
    before = process.reads.count
    for _ in range(3):
        assert await process.used() == 30
        assert (await process.check("sso")).granted
        assert not (await process.check("nope")).granted
    assert process.reads.count == before


async def test_many_who_wait_hear_of_changes_at_once(catalogue: Api, process: Process) -> None:
    statements = 0

    def count(_record: object) -> None:
        nonlocal statements
        statements += 1

    async with catalogue.context.database.following.connection(1) as conn:
        watched: Any = conn
        watched.add_query_logger(count)
    assert await asyncio.gather(*(process.used() for _ in range(300))) == [30] * 300
    assert statements == 1


async def test_usage_that_lands_is_added(catalogue: Api, process: Process) -> None:
    before = process.reads.count
    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    assert await process.used() == 35
    await catalogue.used(
        call("3", 6, "2026-05-03T01:00:00Z"), call("of april", 7, "2026-04-30T23:59:59Z")
    )
    assert await process.used() == 41
    assert process.reads.count == before


@pytest.mark.parametrize(
    ("aggregation", "start", "is_read"),
    [
        ("sum", "2026-05-01T00:00:00Z", False),
        ("count", "2026-05-01T00:00:00Z", False),
        ("max", "2026-05-01T00:00:00Z", False),
        ("min", "2026-05-01T00:00:00Z", False),
        ("last", "2026-05-01T00:00:00Z", True),
        ("sum", "2026-05-02T12:00:00Z", False),
        ("count", "2026-05-02T12:00:00Z", False),
        ("max", "2026-05-02T12:00:00Z", True),
        ("min", "2026-05-02T12:00:00Z", True),
    ],
)
async def test_usage_that_does_not_follow_is_read(
    catalogue: Api, aggregation: str, start: str, *, is_read: bool
) -> None:
    await metered_by(catalogue, aggregation, start)
    process = Process(catalogue)
    await catalogue.used(call("1", 30, "2026-05-02T13:00:00Z"))
    assert await process.used() == (1 if aggregation == "count" else 30)
    assert not (await process.check("nope")).granted
    before = process.reads.count
    for key, value, timestamp in (
        ("2", 40, "2026-05-02T14:00:00Z"),
        ("3", 20, "2026-05-02T15:00:00Z"),
        ("4", 25, "2026-05-02T12:30:00Z"),
    ):
        await catalogue.used(call(key, value, timestamp))
        told = await process.check()
        (exact,) = await process.reads.stored.read([Asked("acme", ("calls",))])
        assert isinstance(exact, Snapshot)
        assert told == combined(exact, ("calls",), exact.as_of)[0]
    assert (process.reads.count > before) == is_read


async def test_what_lands_on_the_day_in_which_the_period_begins(catalogue: Api) -> None:
    """It is read where some of it was before."""
    process = await begun_at_noon(catalogue)
    before = process.reads.count
    await catalogue.used(call("2", 5, "2026-05-02T12:00:00Z"), call("3", 6, "2026-05-02T18:00:00Z"))
    assert await process.used() == 41
    await catalogue.used(call("4", 7, "2026-05-02T11:59:59.999999Z"))
    assert await process.used() == 41
    assert process.reads.count == before
    await catalogue.used(call("5", 8, "2026-05-02T11:00:00Z"), call("6", 9, "2026-05-02T13:00:00Z"))
    assert await process.used() == 50
    assert not (await process.check("nope")).granted
    await catalogue.used(call("7", 10, "2026-05-02T14:00:00Z"))
    assert await process.used() == 60
    assert process.reads.count == before + 1


async def test_who_does_not_say_when_it_was_has_added_nobody_knows_what(catalogue: Api) -> None:
    """As by hand, and in a release from before: the instants are those of what landed last."""
    process = await begun_at_noon(catalogue)
    before = process.reads.count
    async with catalogue.context.database.connection() as conn:
        await conn.execute(ADD_SIXTY_NINE)
    assert await process.used() == 30
    assert process.reads.count == before + 1


async def begun_at_noon(catalogue: Api) -> Process:
    """acme's period began within 2 May; 30 calls since then are kept, and not in doubt."""
    await metered_by(catalogue, "sum", "2026-05-02T12:00:00Z")
    process = Process(catalogue)
    await catalogue.used(call("1", 30, "2026-05-02T13:00:00Z"))
    assert await process.used() == 30
    assert not (await process.check("nope")).granted
    return process


async def metered_by(catalogue: Api, aggregation: str, start: str) -> None:
    """acme has 100 calls, counted so, in months from then on."""
    async with catalogue.context.database.connection() as conn:
        await conn.execute(
            "UPDATE metrics SET aggregation = $1 WHERE metric_key = 'calls'", aggregation
        )
    await subscribed(catalogue, "a", limit(100), start_date=start)


@pytest.mark.parametrize("doubts", [True, False])
async def test_what_was_seen_already_is_not_added(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch, *, doubts: bool
) -> None:
    """It was committed after the last position, and before the read; who does not doubt adds it."""
    if not doubts:
        monkeypatch.setattr(kept_snapshots, "MAY_HAVE_BEEN_SEEN", 0)
    await unread(catalogue)
    process.reads.just_before = lambda: catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    assert await process.used() == 35
    assert await process.used() == (35 if doubts else 40)


@pytest.mark.parametrize("doubts", [True, False])
async def test_what_is_read_while_a_landing_is_added_is_not_added_twice(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch, *, doubts: bool
) -> None:
    if not doubts:
        monkeypatch.setattr(kept_snapshots, "MAY_HAVE_BEEN_SEEN", -1)

    async def read_after_the_first(usages: Iterable[Any]) -> AsyncIterator[Any]:
        first, second = usages
        yield first
        process.kept._entries.forget_all()
        assert await process.used() == 40
        yield second

    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"), call("3", 5, "2026-05-04T00:00:00Z"))
    monkeypatch.setattr(kept_snapshots, "in_turns", read_after_the_first)
    assert await process.used() == (40 if doubts else 45)


async def unread(catalogue: Api) -> None:
    """Whatever was kept has to be read again."""
    async with catalogue.context.database.connection() as conn:
        await conn.execute("UPDATE entitlement_documents SET version = version + 1")


async def test_a_change_is_heard_of(catalogue: Api, process: Process) -> None:
    await subscribed(catalogue, "b", limit(50))
    assert (await process.check()).limit == 150


async def test_what_is_changed_by_hand_is_heard_of(catalogue: Api, process: Process) -> None:
    for change in (
        "UPDATE entitlement_documents SET document = NULL, version = version + 1",
        "DELETE FROM entitlement_documents",
    ):
        before = process.reads.count
        async with catalogue.context.database.connection() as conn:
            await conn.execute(change)
        assert (await process.check("sso")).granted
        assert process.reads.count == before + 1


async def test_without_its_trigger_a_change_would_not_be(catalogue: Api, process: Process) -> None:
    await silence(catalogue, "entitlement_documents")
    await subscribed(catalogue, "b", limit(50))
    assert (await process.check()).limit == 100


async def test_without_its_trigger_usage_would_not_be(catalogue: Api, process: Process) -> None:
    await silence(catalogue, "usage_daily")
    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    assert await process.used() == 30


async def silence(catalogue: Api, table: str) -> None:
    async with catalogue.context.database.connection() as conn:
        await conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")


async def test_what_was_begun_before_and_committed_after_a_position_is_heard_of(
    catalogue: Api, process: Process
) -> None:
    async def add_slowly(conn: Any) -> None:
        await conn.execute(ADD_SIXTY_NINE)
        await catalogue.made("/v1/customers", {"id": "later"})
        for _ in range(3):
            assert await process.used() == 30

    await catalogue.context.database.transaction(add_slowly)
    assert await process.used() == 99


@pytest.mark.parametrize("remembers", [True, False])
async def test_what_changes_while_it_is_read_is_not_kept(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch, *, remembers: bool
) -> None:
    """Another check hears of it before the reader has kept what it saw; a process that does not
    remember it gives what was before."""
    if not remembers:
        monkeypatch.setattr(KeptSnapshots, "_told_since", lambda *_: False)
    await unread(catalogue)
    process.reads.meanwhile = partial(landed_and_heard_of, catalogue, process)
    assert await process.used() == 30
    assert await process.used() == (35 if remembers else 30)


async def landed_and_heard_of(catalogue: Api, process: Process) -> None:
    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    await process.kept._feed.catch_up()


async def test_whoever_reads_while_much_is_told_keeps_nothing(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_snapshots, "CHANGES_REMEMBERED_MAX", 0)
    await unread(catalogue)
    process.reads.meanwhile = partial(landed_and_heard_of, catalogue, process)
    assert await process.used() == 30
    assert await process.used() == 35


async def test_a_new_billing_period_is_read(process: Process, clock: FakeClock) -> None:
    clock.advance(timedelta(days=31))
    assert await process.used() == 0
    before = process.reads.count
    assert await process.used() == 0
    assert process.reads.count == before


async def test_what_ends_by_time_does(catalogue: Api, process: Process, clock: FakeClock) -> None:
    await subscribed(catalogue, "b", limit(50), end_date="2026-05-20T00:00:00Z")
    assert (await process.check()).limit == 150
    clock.set(datetime(2026, 5, 20, tzinfo=UTC))
    assert (await process.check()).limit == 100


async def test_who_has_not_heard_of_what_is_forgotten_begins_anew(
    catalogue: Api, process: Process
) -> None:
    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    for name in ("b", "c"):
        await upkeep.forget_changes(catalogue.context)
        await catalogue.made("/v1/customers", {"id": name})
    await upkeep.forget_changes(catalogue.context)
    async with catalogue.context.database.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM entitlement_changes") == 0
    assert await process.used() == 35
    await kept_again(process, 35)


async def kept_again(process: Process, used: int) -> None:
    """Once it has found out that it has to begin anew, and has read."""
    for _ in range(2):
        assert await process.used() == used
    before = process.reads.count
    assert await process.used() == used
    assert process.reads.count == before


async def test_what_may_still_be_told_is_not_forgotten(catalogue: Api, process: Process) -> None:
    await upkeep.forget_changes(catalogue.context)
    await upkeep.forget_changes(catalogue.context)
    assert await process.used() == 30
    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    await upkeep.forget_changes(catalogue.context)
    before = process.reads.count
    assert (await process.check("sso")).granted
    assert process.reads.count == before
    assert await process.used() == 35


async def test_beside_a_long_transaction_checks_are_read(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "ROWS_MAX", 2)

    async def long(conn: Any) -> None:
        await conn.execute("SELECT pg_current_xact_id()")
        for number in range(2, 7):
            await catalogue.used(call(str(number), 1, "2026-05-03T00:00:00Z"))
            assert await process.used() == 29 + number

    await catalogue.context.database.transaction(long)
    await kept_again(process, 35)


async def test_a_connection_that_was_cut_has_missed_nothing(
    catalogue: Api, process: Process
) -> None:
    database = catalogue.context.database
    async with database.following.connection(1) as following:
        pid = await following.fetchval("SELECT pg_backend_pid()")
    async with database.connection() as conn:
        await conn.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    assert await process.used() == 35
    await kept_again(process, 35)


async def test_who_hears_nothing_in_time_reads(
    catalogue: Api, databases: TestDatabases, process: Process
) -> None:
    async with holding(databases.dsn, NOBODY_HEARS):
        before = process.reads.count
        assert await process.used() == 30
        assert process.reads.count == before + 1
    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    assert await process.used() == 35


async def test_what_changes_is_heard_of_while_nobody_checks(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while: so that whoever checks next has little to hear of."""
    monkeypatch.setattr(change_feed, "FOLLOW_EVERY_MS", 1)
    monkeypatch.setattr(change_feed, "FOLLOWS_UNASKED_MAX", 20)
    fresh = Process(catalogue)
    assert await fresh.used() == 30
    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))

    async def is_over() -> bool:
        return fresh.kept._feed._unasked == 20

    await eventually(is_over)
    assert fresh.kept._feed.asked >= 20
    assert await fresh.used() == 35


async def test_too_many_who_wait_are_not_kept_waiting(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.kept._feed._asking, "_waiting_max", 1)
    assert await asyncio.gather(*(process.used() for _ in range(5))) == [30] * 5


async def test_another_server_has_told_nothing_of_before(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that took over may have other transactions under the same numbers."""
    told = change_feed.repository.told

    async def told_by_another(*args: Any, **options: Any) -> Any:
        found = await told(*args, **options)
        return replace(found, changes=[], server=datetime(2026, 1, 1, tzinfo=UTC))

    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    monkeypatch.setattr(change_feed.repository, "told", told_by_another)
    assert await process.used() == 35


async def test_more_than_is_worth_telling_apart_is_all(catalogue: Api, process: Process) -> None:
    async with catalogue.context.database.connection() as conn:
        await conn.execute(
            "INSERT INTO usage_daily SELECT customer_no, metric_no, day - number, 1, 1, 7, 7, 7,"
            " NULL, 1, NULL FROM usage_daily, generate_series(1, 5000) AS number"
        )
        last = await conn.fetchrow(
            "SELECT customer_nos, metric_nos FROM entitlement_changes"
            " ORDER BY transaction_id DESC LIMIT 1"
        )
    assert last is not None
    assert tuple(last) == (None, None)
    assert await process.used() == 37


async def test_more_usage_than_is_told_at_once_is_read(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "USAGES_MAX", 1)
    before = process.reads.count
    for key, day in (("2", 3), ("3", 4)):
        await catalogue.used(call(key, 5, f"2026-05-0{day}T00:00:00Z"))
    assert await process.used() == 40
    assert process.reads.count == before + 1


@pytest.mark.parametrize("is_restored", [True, False])
async def test_what_a_dump_brought_along_is_not_told(
    catalogue: Api, process: Process, *, is_restored: bool
) -> None:
    """Its transaction, of another server, is yet to come in this one; it would be told then."""
    async with catalogue.context.database.connection() as conn:
        await conn.execute(
            "INSERT INTO entitlement_changes"
            " (transaction_id, server, customer_nos, metric_nos, days, added, first_added_at,"
            " last_added_at)"
            " SELECT (pg_current_xact_id()::text::bigint + 2)::text::xid8,"
            " CASE WHEN $1 THEN '2026-01-01Z' ELSE pg_postmaster_start_time() END,"
            " ARRAY[customer_no], ARRAY[metric_no], ARRAY[day], ARRAY[7], ARRAY[first_added_at],"
            " ARRAY[last_added_at]"
            " FROM usage_daily WHERE value_sum = 30",
            is_restored,
        )
    for name in ("b", "c", "d"):
        await catalogue.made("/v1/customers", {"id": name})
    assert await process.used() == (30 if is_restored else 37)
    await upkeep.forget_changes(catalogue.context)
    async with catalogue.context.database.connection() as conn:
        left = await conn.fetchval(
            "SELECT count(*) FROM entitlement_changes WHERE server <> pg_postmaster_start_time()"
        )
    assert left == 0


async def test_what_fails_while_it_is_told_is_not_told_twice(
    catalogue: Api, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = KeptSnapshots._use

    def use_and_fail(*args: Any) -> None:
        use(*args)
        raise ArithmeticError

    await catalogue.used(call("2", 5, "2026-05-03T00:00:00Z"))
    with monkeypatch.context() as failing:
        failing.setattr(KeptSnapshots, "_use", use_and_fail)
        with pytest.raises(ArithmeticError):
            await process.used()
    assert await process.used() == 35


async def test_a_key_of_a_rollup_that_is_changed_by_hand_is_heard_of(
    catalogue: Api, process: Process
) -> None:
    async with catalogue.context.database.connection() as conn:
        await conn.execute("UPDATE usage_daily SET day = '2026-04-02'")
    assert await process.used() == 0


async def test_who_wants_it_fresh_is_read_to(catalogue: Api, process: Process) -> None:
    access = Entitlements(process.reads, kept=process.kept)
    before = process.reads.count
    for fresh in (False, True):
        assert await access.snapshot(Asked("acme", ("calls",)), fresh=fresh) is not None
    assert process.reads.count == before + 1


async def test_over_http_only_the_instant_changes(
    catalogue: Api, process: Process, clock: FakeClock
) -> None:
    await catalogue.ask("GET", CHECK)
    kept = counted(catalogue)["kept", ""]
    first = (await catalogue.ask("GET", CHECK)).json()
    clock.advance(timedelta(seconds=90))
    second = (await catalogue.ask("GET", CHECK)).json()
    assert second.pop("as_of") > first.pop("as_of")
    assert first == second
    assert first["current_usage"] == "30"
    assert counted(catalogue)["kept", ""] == kept + 2
