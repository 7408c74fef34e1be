"""Checks that ask nobody, and the changes that wait for whoever gives them."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from abaxus_core.domain.entitlement_documents import Snapshot, combined
from abaxus_core.kernel.elapsed import NS_PER_MS, elapsed_ns
from abaxus_core.repositories import entitlement_keepers
from abaxus_core.services import upkeep
from abaxus_core.services.entitlements import keeper, kept_snapshots
from abaxus_core.services.entitlements.access import Asked, Entitlements
from abaxus_core.services.entitlements.keeper import Keeper
from abaxus_core.services.entitlements.kept_snapshots import KeptSnapshots
from abaxus_core.services.entitlements.stored import Stored
from abaxus_core.services.telemetry import Telemetry
from tests.integration.catalogue.conftest import Api
from tests.integration.catalogue.test_entitlements import call, limit, sso, subscribed
from tests.support.clock import FakeClock
from tests.support.locks import holding
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

SSO = Asked("acme", ("sso",))
CALLS = Asked("acme", ("calls",))
FOR_LONG_MS = 3_600_000
TAKE_SSO = "UPDATE entitlement_documents SET version = version + 1"
NOBODY_IS_ASKED = "LOCK TABLE entitlement_changes, entitlement_documents IN ACCESS EXCLUSIVE MODE"
NOBODY_IS_TOLD = "LOCK TABLE entitlement_keepers IN ACCESS EXCLUSIVE MODE"


class Process:
    """One of several API processes, so to speak."""

    def __init__(self, api: Api) -> None:
        context = api.context
        self.database = context.database
        self.telemetry = Telemetry()
        self.stored = Stored(self.database, context.clock, self.telemetry)
        self.kept = KeptSnapshots(self.stored, self.database, context.clock, self.telemetry)
        self.entitlements = Entitlements(self.stored, kept=self.kept)

    def at_hand(self, asked: Asked = SSO) -> Snapshot | None:
        return self.kept.at_hand(asked)

    async def hear(self, asked: Asked = SSO) -> None:
        """Have read it, and of all that has changed since."""
        for _ in range(2):
            assert await self.entitlements.snapshot(asked) is not None
        await self.kept._feed.catch_up()

    async def keeps(self, asked: Asked = SSO) -> bool:
        await self.hear(asked)
        return self.at_hand(asked) is not None

    async def changed(self) -> str:
        """Tell of a change; what became of it."""
        before = self._given_up()
        await self.entitlements.changed({"acme"}, waiting=True)
        (outcome,) = self._given_up() - before
        return outcome.split('outcome="')[1].split('"')[0]

    def _given_up(self) -> set[str]:
        lines = self.telemetry.exposition().decode().splitlines()
        return {line for line in lines if line.startswith("abaxus_entitlement_given_up_total")}


@pytest.fixture
async def for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was heard is given for so long that no test sees the end of it."""
    monkeypatch.setattr(keeper, "KEPT_FOR_MS", FOR_LONG_MS)
    monkeypatch.setattr(kept_snapshots, "KEPT_FOR", timedelta(milliseconds=FOR_LONG_MS))
    monkeypatch.setattr(kept_snapshots, "HEAR_AGAIN_AFTER_NS", FOR_LONG_MS * NS_PER_MS)


@pytest.fixture
async def process(catalogue: Api, for_long: None) -> Process:
    """Has what acme is granted at hand: sso, and 100 calls, of which 30 are used."""
    await subscribed(catalogue, "a", limit(100), sso(True))
    await catalogue.used(call("1", 30, "2026-05-02T00:00:00Z"))
    process = Process(catalogue)
    await eventually(process.keeps, CALLS)
    await process.hear(SSO)
    return process


@pytest.fixture
async def other(catalogue: Api, process: Process) -> Process:
    other = Process(catalogue)
    await eventually(other.keeps)
    return other


async def keepers(process: Process) -> int:
    async with process.database.connection() as conn:
        return await conn.fetchval("SELECT count(*) FROM entitlement_keepers")


async def change(process: Process) -> None:
    """By hand, of acme's grants, who is told of by nobody but the database."""
    async with process.database.connection() as conn:
        await conn.execute(TAKE_SSO)


async def test_who_has_it_at_hand_asks_nobody(databases: TestDatabases, process: Process) -> None:
    async with holding(databases.dsn, NOBODY_IS_ASKED):
        found = await process.entitlements.snapshot(CALLS)
    assert found is not None
    (calls,) = combined(found, ("calls",), found.as_of)
    assert (calls.granted, calls.current_usage) == (True, 30)


async def test_only_what_is_kept_is_at_hand(process: Process) -> None:
    assert process.at_hand(Asked("acme", ("calls", "sso"))) is not None
    assert process.at_hand(Asked("nobody", ("sso",))) is None
    assert process.kept.has("acme")
    assert not process.kept.has("nobody")


class Shelf:
    """A cache that has nothing, and remembers who was looked for."""

    def __init__(self) -> None:
        self.looked_for: list[str] = []

    async def read(self, asked: Sequence[Asked]) -> Sequence[None]:
        self.looked_for += [each.customer_id for each in asked]
        return [None for _ in asked]

    async def changed(self, _customer_ids: Collection[str], *, waiting: bool) -> None:
        """Nothing is there."""


async def test_a_cache_is_asked_for_those_of_whom_nothing_is_kept(process: Process) -> None:
    cache = Shelf()
    access = Entitlements(process.stored, kept=process.kept, cache=cache)
    assert await access.snapshot(SSO) is not None
    await access.changed({"acme"}, waiting=True)
    assert process.at_hand() is None
    assert await access.snapshot(SSO) is not None
    assert await access.snapshot(Asked("nobody", ("sso",))) is None
    assert await access.snapshot(Asked("someone", ("sso",)), fresh=True) is None
    assert cache.looked_for == ["nobody"]


async def test_it_says_when_that_was_so(catalogue: Api, process: Process, clock: FakeClock) -> None:
    heard_at = clock.now
    clock.advance(timedelta(milliseconds=20))
    found = process.at_hand()
    assert found is not None
    assert found.as_of == heard_at
    await process.hear()
    found = process.at_hand()
    assert found is not None
    assert found.as_of == clock.now


async def test_a_clock_that_is_set_ends_it(process: Process, clock: FakeClock) -> None:
    clock.advance(timedelta(milliseconds=FOR_LONG_MS + 1))
    assert process.at_hand() is None
    clock.advance(timedelta(milliseconds=-FOR_LONG_MS - 2))
    assert process.at_hand() is None


async def test_what_was_heard_long_ago_is_not_given(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "KEPT_FOR_MS", 0)
    assert process.at_hand() is None


async def test_nothing_is_given_past_a_phase(
    catalogue: Api, for_long: None, clock: FakeClock
) -> None:
    await subscribed(catalogue, "a", sso(True), end_date="2026-05-11")
    clock.set(datetime(2026, 5, 10, 23, 59, tzinfo=UTC))
    process = Process(catalogue)
    await eventually(process.keeps)
    clock.advance(timedelta(seconds=59))
    assert process.at_hand() is not None
    clock.advance(timedelta(seconds=1))
    assert process.at_hand() is None


async def test_before_changes_wait_nothing_is_given(
    databases: TestDatabases, catalogue: Api, for_long: None
) -> None:
    await subscribed(catalogue, "a", sso(True))
    process = Process(catalogue)
    async with holding(databases.dsn, NOBODY_IS_TOLD):
        for _ in range(3):
            await process.hear()
            assert process.at_hand() is None
    await eventually(process.keeps)
    assert await keepers(process) == 1


async def test_nor_what_was_heard_before_they_did(process: Process) -> None:
    heard = process.kept._feed.heard
    assert heard is not None
    assert process.kept._keeper.may_give(heard, elapsed_ns())
    registered = process.kept._keeper._registered
    assert registered is not None
    before = replace(heard, sent_ns=registered.since_ns - 1)
    assert not process.kept._keeper.may_give(before, elapsed_ns())


async def test_nor_what_another_server_has_told(process: Process) -> None:
    heard = process.kept._feed.heard
    assert heard is not None
    elsewhere = replace(heard, server=heard.server + timedelta(seconds=1))
    assert not process.kept._keeper.may_give(elsewhere, elapsed_ns())


async def test_who_has_not_been_heard_of_for_long_gives_nothing(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, registered = process.kept._feed.heard, process.kept._keeper._registered
    assert heard is not None
    assert registered is not None
    monkeypatch.setattr(keeper, "KEPT_FOR_MS", 1_000 * FOR_LONG_MS)
    assert process.kept._keeper.may_give(heard, registered.until_ns - 1)
    assert not process.kept._keeper.may_give(heard, registered.until_ns)


async def test_who_says_so_in_time_goes_on(process: Process) -> None:
    its = process.kept._keeper
    before = its._registered
    await its._renew()
    after = its._registered
    assert before is not None
    assert after is not None
    assert after.since_ns == before.since_ns
    assert after.until_ns > before.until_ns


async def test_who_says_so_too_late_begins_anew(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = process.kept._keeper
    monkeypatch.setattr(keeper, "TRUSTED_FOR_S", 0)
    await its._renew()
    before = its._registered
    await its._renew()
    after = its._registered
    assert before is not None
    assert after is not None
    assert after.since_ns > before.until_ns


async def test_changes_are_heard_of_though_nobody_waits(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_snapshots, "HEAR_AGAIN_AFTER_NS", 0)
    before = process.kept._feed.heard

    async def has_heard() -> bool:
        return process.kept._feed.heard is not before

    assert process.at_hand() is not None
    await eventually(has_heard)


async def test_a_change_of_a_process_alone_waits_for_nobody(process: Process) -> None:
    assert await process.changed() == "alone"


async def test_nor_is_what_was_before_given_there(process: Process) -> None:
    """Not even while nobody has told it; `_changed_here_ns` is what does that."""
    await change(process)
    assert process.at_hand() is not None
    await process.changed()
    assert process.at_hand() is None
    process.kept._changed_here_ns = 0
    assert process.at_hand() is not None


async def test_it_waits_for_others(
    process: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "KEPT_FOR_MS", 30)
    since_ns = elapsed_ns()
    assert await process.changed() == "waited_out"
    assert elapsed_ns() - since_ns >= 30 * NS_PER_MS


async def test_after_a_change_no_process_gives_what_was_before(
    process: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert other.at_hand() is not None
    monkeypatch.setattr(keeper, "KEPT_FOR_MS", 30)
    await other.hear()
    await change(process)
    await process.changed()
    assert other.at_hand() is None


async def test_if_it_did_not_wait_one_would(
    process: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_at_all(_self: Keeper, _changed_ns: int) -> None:
        """Nobody is waited for."""

    monkeypatch.setattr(Keeper, "wait_out", not_at_all)
    await change(process)
    await process.changed()
    assert other.at_hand() is not None


async def test_it_waits_where_nobody_knows_of_others(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "KEPT_FOR_MS", 30)
    monkeypatch.setattr(keeper, "TIMEOUT_S", 0)
    assert await process.changed() == "waited_out"


async def test_jobs_wait_for_nobody(process: Process, other: Process) -> None:
    async with asyncio.timeout(30):
        await process.entitlements.changed({"acme"}, waiting=False)
    assert process.at_hand() is None


async def test_who_leaves_is_not_waited_for_and_gives_nothing(
    process: Process, other: Process
) -> None:
    await other.entitlements.close()
    assert other.at_hand() is None
    assert await keepers(process) == 1
    assert await process.changed() == "alone"
    await other.hear()
    assert other.at_hand() is None


async def test_who_has_kept_nothing_leaves_nothing(
    databases: TestDatabases, catalogue: Api, process: Process
) -> None:
    idle = Process(catalogue)
    async with holding(databases.dsn, NOBODY_IS_TOLD):
        await idle.entitlements.close()


async def test_who_is_gone_is_forgotten(catalogue: Api, process: Process, other: Process) -> None:
    async with catalogue.context.database.connection() as conn:
        await conn.execute(
            "UPDATE entitlement_keepers SET renewed_at = now() - interval '601 s'"
            " WHERE keeper_id = $1",
            other.kept._keeper._id,
        )
    await upkeep.forget_changes(catalogue.context)
    assert await keepers(process) == 1
    alone = partial(entitlement_keepers.are_there_others, keeper_id=process.kept._keeper._id)
    assert not await catalogue.context.database.transaction(alone)
