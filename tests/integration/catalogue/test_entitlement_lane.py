"""Checks read in batches: once for all who wait, never from before they asked, none for ever."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from abaxus_core.domain.entitlement_documents import Snapshot, combined
from abaxus_core.domain.entitlements import Combined
from abaxus_core.errors import NotReady
from abaxus_core.services.entitlements import lane, stored
from abaxus_core.services.entitlements.access import Asked
from abaxus_core.services.entitlements.stored import Stored
from tests.integration.catalogue.conftest import Api
from tests.integration.catalogue.test_entitlements import call, limit, sso, subscribed
from tests.support.clock import FakeClock
from tests.support.locks import are_waiting, holding
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

NOBODY_LOOKS = "LOCK TABLE entitlement_documents IN ACCESS EXCLUSIVE MODE"
NOBODY_READS_EVENTS = "LOCK TABLE events IN ACCESS EXCLUSIVE MODE"
MANY = 300


class Reader:
    """Reads checks of acme, and counts the looks that it takes."""

    def __init__(self, api: Api) -> None:
        self._clock = api.context.clock
        self._pinned = api.context.database.pinned
        self.stored = Stored(api.context.database, self._clock, api.context.telemetry)
        self.looks = 0

    async def watch(self) -> None:
        """Count on the connection there is now."""
        async with self._pinned.connection(lane.LOOK_TIMEOUT_S) as conn:
            watched: Any = conn
            watched.add_query_logger(self._count)

    def _count(self, _record: object) -> None:
        self.looks += 1

    async def pid(self) -> int:
        async with self._pinned.connection(lane.LOOK_TIMEOUT_S) as conn:
            number: int = await conn.fetchval("SELECT pg_backend_pid()")
            return number

    async def check(self, feature_key: str = "sso", customer_id: str = "acme") -> Combined:
        (found,) = await self.stored.read([Asked(customer_id, (feature_key,))])
        if isinstance(found, Exception):
            raise found
        assert found is not None
        return combined(found, (feature_key,), found.as_of)[0]


@pytest.fixture
async def reader(catalogue: Api) -> Reader:
    """acme has sso, and 100 calls in periods of whole days."""
    await subscribed(catalogue, "a", limit(100), sso(True))
    reader = Reader(catalogue)
    assert (await reader.check()).granted
    await reader.watch()
    return reader


async def test_a_check_takes_one_look(catalogue: Api, reader: Reader) -> None:
    await catalogue.used(call("1", 30, "2026-05-02T00:00:00Z"))
    for used in (30, 31):
        reader.looks = 0
        assert (await reader.check("calls")).current_usage == used
        assert reader.looks == 1
        await catalogue.used(call(str(used), 1, "2026-05-03T00:00:00Z"))


async def test_many_at_once_take_few_looks(reader: Reader) -> None:
    checks = [reader.check(("sso", "calls", "nope")[number % 3]) for number in range(MANY)]
    granted = [one.granted for one in await asyncio.gather(*checks)]
    assert granted == [number % 3 < 2 for number in range(MANY)]
    assert reader.looks <= 1 + -(-MANY // lane.LOOKS_AT_ONCE)


async def test_looks_and_what_takes_longer_are_counted(catalogue: Api, reader: Reader) -> None:
    before = counted(catalogue)
    await asyncio.gather(*(reader.check() for _ in range(3)))
    await catalogue.used(call("1", 30, "2026-05-10T06:00:00Z"))
    await subscribed(catalogue, "b", limit(50), start_date="2026-05-10T00:00:00.000001Z")
    await reader.check("calls")
    counted_since = counted(catalogue) - before
    assert counted_since["looks", ""] == 3 + 2
    assert counted_since["statements", ""] == 1 + 2
    assert counted_since["slow_reads", "raw_part"] == 1


def counted(catalogue: Api) -> Counter[tuple[str, str]]:
    """What an operator sees of checks."""
    exposition = catalogue.context.telemetry.exposition().decode()
    return Counter(
        {
            (family.name.removeprefix("abaxus_entitlement_"), sample.labels.get("what", "")): int(
                sample.value
            )
            for family in text_string_to_metric_families(exposition)
            for sample in family.samples
            if sample.name.startswith("abaxus_entitlement_") and sample.name.endswith("_total")
        }
    )


async def test_one_change_takes_one_more_look(catalogue: Api, reader: Reader) -> None:
    await subscribed(catalogue, "b", limit(50))
    reader.looks = 0
    assert (await reader.check("calls")).limit == 150
    assert reader.looks == 2


async def test_who_asks_while_a_look_is_under_way_joins_the_next_one(
    databases: TestDatabases, reader: Reader
) -> None:
    """The look under way may have seen the world from before he asked."""
    async with holding(databases.dsn, NOBODY_LOOKS):
        early = asyncio.create_task(reader.check("later"))
        await eventually(are_waiting, databases.test, 1)
        late = [asyncio.create_task(reader.check("later")) for _ in range(3)]
        await asyncio.sleep(0)
        assert reader.looks == 0
    await asyncio.gather(early, *late)
    assert reader.looks == 2


async def test_a_look_that_takes_too_long_fails_those_who_wait_and_no_others(
    databases: TestDatabases, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "LOOK_TIMEOUT_S", 1)
    before = await reader.pid()
    async with holding(databases.dsn, NOBODY_LOOKS):
        early = asyncio.create_task(reader.check())
        await eventually(are_waiting, databases.test, 1)
        late = asyncio.create_task(reader.check())
        with pytest.raises(TimeoutError):
            await early
    assert (await late).granted
    assert await reader.pid() != before


async def test_over_http_that_is_not_ready(
    catalogue: Api, databases: TestDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "LOOK_TIMEOUT_S", 1)
    async with holding(databases.dsn, NOBODY_LOOKS):
        answer = await catalogue.ask(
            "GET", "/v1/entitlements/check?customer_id=acme&feature_key=sso"
        )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "NOT_READY"


async def test_more_than_may_wait_are_refused_at_once(
    catalogue: Api, databases: TestDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "LOOKS_WAITING_MAX", 2)
    reader = Reader(catalogue)
    await reader.check()
    async with holding(databases.dsn, NOBODY_LOOKS):
        early = asyncio.create_task(reader.check())
        await eventually(are_waiting, databases.test, 1)
        waiting = [asyncio.create_task(reader.check()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await reader.check()
    await asyncio.gather(early, *waiting)


async def test_those_who_asked_first_are_answered_first(
    databases: TestDatabases, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[int] = []

    async def check(number: int) -> None:
        await reader.check()
        answered.append(number)

    checks = [asyncio.create_task(check(number)) for number in range(MANY)]
    await asyncio.gather(*checks)
    assert answered == sorted(answered)


async def test_a_connection_that_was_cut_fails_nobody(catalogue: Api, reader: Reader) -> None:
    before = await reader.pid()
    async with catalogue.context.database.connection() as conn:
        await conn.fetchval("SELECT pg_terminate_backend($1, 5000)", before)
    assert (await reader.check()).granted
    assert await reader.pid() != before


async def test_an_unknown_customer_is_nobody_and_fails_no_others(reader: Reader) -> None:
    asked: Sequence[Asked] = [
        Asked("nope", ("sso",)),
        Asked("acme", ("sso",)),
        Asked("nope", None),
    ]
    first, second, third = await reader.stored.read(asked)
    assert (first, third) == (None, None)
    assert isinstance(second, Snapshot)


async def raw(catalogue: Api) -> None:
    """beta's 100 calls are counted in periods that begin at noon, and its users raw."""
    await catalogue.made("/v1/customers", {"id": "beta"})
    body = {"customer_id": "beta", "plan_id": "a", "start_date": "2026-05-05T12:00:00Z"}
    await catalogue.made("/v1/subscriptions", body)


def of_beta(key: str, timestamp: str) -> dict[str, object]:
    return call(key, 1, timestamp, customer_id="beta")


async def test_raw_parts_are_read_once_until_their_days_change(
    catalogue: Api, databases: TestDatabases, reader: Reader
) -> None:
    await raw(catalogue)
    await catalogue.used(
        of_beta("before", "2026-05-05T11:59:00Z"), of_beta("after", "2026-05-05T12:00:00Z")
    )
    assert (await reader.check("calls", "beta")).current_usage == 1
    await catalogue.used(of_beta("another day", "2026-05-07T11:59:00Z"))
    async with holding(databases.dsn, NOBODY_READS_EVENTS):
        assert (await reader.check("calls", "beta")).current_usage == 2
    await catalogue.used(of_beta("same day", "2026-05-05T13:00:00Z"))
    assert (await reader.check("calls", "beta")).current_usage == 3


async def test_who_has_to_read_raw_events_holds_up_nobody_else(
    catalogue: Api, databases: TestDatabases, reader: Reader, clock: FakeClock
) -> None:
    await raw(catalogue)
    await catalogue.used(of_beta("after", "2026-05-05T12:00:00Z"))
    async with holding(databases.dsn, NOBODY_READS_EVENTS):
        slow = [asyncio.create_task(reader.check("calls", "beta")) for _ in range(5)]
        await eventually(are_waiting, databases.test, 1)
        assert (await reader.check("calls")).current_usage == 0
        assert (await reader.check("sso", "beta")).granted
        assert not await are_waiting(databases.test, 2)
    assert [one.current_usage for one in await asyncio.gather(*slow)] == [1] * 5
    clock.advance(timedelta(days=400))
    assert (await reader.check("calls", "beta")).current_usage == 0


async def test_what_does_not_settle_is_read_exactly(
    catalogue: Api, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No round can be enough: the slow way answers all the same."""
    await catalogue.used(call("1", 30, "2026-05-02T00:00:00Z"))
    monkeypatch.setattr(stored, "ROUNDS_MAX", 0)
    told = await reader.check("calls")
    assert (told.limit, told.current_usage) == (100, 30)
    (nobody,) = await reader.stored.read([Asked("nope", None)])
    assert nobody is None


async def test_who_gives_up_leaves_the_others_their_answers(
    catalogue: Api, databases: TestDatabases, reader: Reader
) -> None:
    await raw(catalogue)
    await catalogue.used(of_beta("after", "2026-05-05T12:00:00Z"))
    async with holding(databases.dsn, NOBODY_READS_EVENTS):
        waiting = [asyncio.create_task(reader.check("calls", "beta")) for _ in range(3)]
        await eventually(are_waiting, databases.test, 1)
        waiting[0].cancel()
        with suppress(asyncio.CancelledError):
            await waiting[0]
    assert [(await one).current_usage for one in waiting[1:]] == [1, 1]
