"""The charge protocol in processes of its own, killed at each of its points: money moves once.

Which failure point of the protocol each is: docs/decisions/0008-charge-protocol.md.
"""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg
import pytest

from abaxus_core.kernel.database import Database
from tests.support.collection import invoice_of, payments_of
from tests.support.fleet import Fleet, Member, fleet, forks
from tests.support.payment_process import POINTS
from tests.support.payment_scene import FAKES, Scene, scene
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

LOCK: Final = 4_711
CALLERS: Final = 50
# The leases of a dead process, on payments and on jobs, have run out by then.
TAKEN_OVER: Final = timedelta(minutes=3)
# Where a transaction is stopped before it commits: which change of a payment it makes.
STOPPED: Final = {
    "during_t1": "INSERT",
    "during_t2": "UPDATE WHEN NEW.state = 'sending'",
    "during_t3": "UPDATE WHEN OLD.state = 'sending' AND NEW.state <> 'sending'",
    "learning": "UPDATE WHEN OLD.state = 'unknown' AND NEW.state = 'succeeded'",
    "resolving": "UPDATE WHEN OLD.state = 'needs_operator'",
}
# At the fake: before it acts on what it has read, and after.
AT_PROVIDER: Final = {"reached": "hold", "charged": "hang"}
# Its answer was never stored, so it is asked for again.
UNHEARD: Final = ("after_answer", "during_t3", *AT_PROVIDER)
CHARGING: Final = ("during_t1", "during_t2", "during_t3", *POINTS, *AT_PROVIDER)
REPEATING: Final = ("during_t2", "during_t3", *POINTS, *AT_PROVIDER)

both = pytest.mark.parametrize("name", FAKES)


@pytest.fixture(scope="module")
async def forked() -> AsyncIterator[Process]:
    async with forks() as process:
        yield process


@pytest.fixture
async def up(forked: Process, durable_databases: TestDatabases) -> AsyncIterator[Fleet]:
    async with fleet(durable_databases.dsn, forked=forked) as up:
        yield up


@asynccontextmanager
async def stopped(databases: TestDatabases, point: str) -> AsyncIterator[None]:
    """Until the block is left, whoever makes this change waits before the commit, in vain."""
    event, _, condition = STOPPED[point].partition(" ")
    conn = await asyncpg.connect(databases.dsn)
    try:
        await conn.execute(f"SET search_path = {databases.live.schema}")
        await conn.execute("SELECT pg_advisory_lock($1)", LOCK)
        await conn.execute(
            f"""
            CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock({LOCK}); RETURN NULL; END $$;
            CREATE TRIGGER stopped AFTER {event} ON payments
            FOR EACH ROW {_parenthesised(condition)} EXECUTE FUNCTION wait_here();
            """
        )
        yield
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND NOT granted"
        )
        await conn.execute("DROP TRIGGER stopped ON payments; DROP FUNCTION wait_here")
    finally:
        await conn.close()


def _parenthesised(condition: str) -> str:
    return condition.replace("WHEN ", "WHEN (") + ")" if condition else ""


async def somebody_waits(live: Database) -> bool:
    async with live.connection() as conn:
        return bool(
            await conn.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND objid = $1",
                LOCK,
            )
        )


async def killed(
    it: Scene, databases: TestDatabases, member: Member, point: str, deed: Awaitable[object]
) -> None:
    """`deed` has the process do something, in which it dies at the point."""
    if point in POINTS:
        await deed
        await it.ends(member)
    elif point in STOPPED:
        async with stopped(databases, point):
            doing = asyncio.ensure_future(deed)
            await eventually(somebody_waits, databases.live)
            await it.up.kill(member)
            await doing
    else:
        it.fake.faults.append(AT_PROVIDER[point])
        doing = asyncio.ensure_future(deed)
        await eventually(it.is_reached)
        await it.up.kill(member)
        await doing
        it.fake.release.set()


def dying_at(point: str) -> dict[str, str]:
    return {"DIES_AT": point} if point in POINTS else {}


async def killed_while_charging(
    it: Scene, databases: TestDatabases, point: str, invoice_id: str, **environ: str
) -> None:
    api = await it.api(**dying_at(point), **environ)
    asked: list[object] = []

    async def ask() -> None:
        asked.append(await it.charge(api, invoice_id))

    await killed(it, databases, api, point, ask())
    assert asked == [None], "it answered, so it did not die"


async def nothing() -> None:
    """A worker finds by itself what it has to do."""


@both
@pytest.mark.parametrize("point", CHARGING)
async def test_killed_while_charging(up, durable_databases, name, point):
    async with scene(up, durable_databases, name) as it:
        invoice_id = await it.invoice()
        await killed_while_charging(it, durable_databases, point, invoice_id)

        api = await it.api()
        again = await it.charge(api, invoice_id)
        assert again.status_code in (200, 409), again.text
        it.wait(TAKEN_OVER)
        await it.worker()
        await it.becomes(invoice_id, "succeeded")
        await it.check_charged_once(invoice_id)
        (payment,) = await payments_of(it.context, invoice_id)
        assert payment.sends == (2 if point in ("before_send", *UNHEARD) else 1)


@both
@pytest.mark.parametrize("point", REPEATING)
async def test_killed_while_repeating(up, durable_databases, name, point):
    """The first answer got lost; the worker that asks again is killed; another one asks again."""
    async with scene(up, durable_databases, name) as it:
        invoice_id = await it.invoice()
        it.fake.faults.append("lose")
        await it.charge(await it.api(), invoice_id)
        assert (await it.last(invoice_id)).state == "unknown"

        worker = await it.worker(**dying_at(point))
        await killed(it, durable_databases, worker, point, nothing())
        it.wait(TAKEN_OVER)
        await it.worker()
        await it.becomes(invoice_id, "succeeded")
        await it.check_charged_once(invoice_id)
        assert len({heard.key for heard in it.fake.heard if heard.key}) == 1


@pytest.mark.parametrize("point", ["before_send", "after_answer", "learning"])
async def test_killed_while_looking_up(up, durable_databases, point):
    """Too late to repeat it, the worker looks for the payment, and is killed."""
    async with scene(up, durable_databases, "stripe") as it:
        invoice_id = await it.invoice()
        it.fake.faults.append("lose")
        await it.charge(await it.api(), invoice_id)

        it.wait(timedelta(hours=23))
        worker = await it.worker(**dying_at(point))
        await killed(it, durable_databases, worker, point, nothing())
        it.wait(TAKEN_OVER)
        await it.worker()
        await it.becomes(invoice_id, "succeeded")
        await it.check_charged_once(invoice_id)
        assert (await it.last(invoice_id)).sends == 1


async def test_killed_while_an_operator_resolves(up, durable_databases):
    """Past the life of Adyen's keys nothing is repeated: a person looks, and says what happened."""
    async with scene(up, durable_databases, "adyen") as it:
        invoice_id = await it.invoice()
        it.fake.faults.append("lose")
        await it.charge(await it.api(), invoice_id)
        it.wait(timedelta(days=7))
        await it.worker()
        await it.becomes(invoice_id, "needs_operator")

        path = f"/v1/payments/{(await it.last(invoice_id)).id}/resolve"
        body = {"outcome": "succeeded", "note": "in the customer area"}
        api = await it.api()
        await killed(it, durable_databases, api, "resolving", it.post(api, path, body))
        assert (await it.last(invoice_id)).state == "needs_operator"
        resolved = await it.post(await it.api(), path, body)

        assert resolved.json()["status"] == "succeeded"
        assert (await invoice_of(it.context, invoice_id)).status == "paid"
        assert len(it.fake.charges) == 1
        assert len([heard for heard in it.fake.heard if heard.key]) == 1


@pytest.mark.parametrize("point", ["before_send", "after_answer"])
async def test_killed_while_ending_what_was_left(up, durable_databases, point):
    """The payer would have to act; the worker that cancels the payment at Stripe is killed."""
    async with scene(up, durable_databases, "stripe") as it:
        invoice_id = await it.invoice(method="pm_card_authenticationRequired")
        answer = await it.charge(await it.api(), invoice_id)
        assert (answer.status_code, answer.json()["payment_status"]) == (202, "requires_action")

        await it.ends(await it.worker(**dying_at(point)))
        it.wait(TAKEN_OVER)
        await it.worker()
        await it.becomes(invoice_id, "declined")
        assert [intent["status"] for intent in it.fake.intents.values()] == ["canceled"]
        assert it.fake.charges == []


@both
async def test_without_the_live_attempt_index_it_is_charged_twice(up, durable_databases, name):
    """The negative control: the test above fails without the constraint that it is about."""
    async with durable_databases.live.connection() as conn:
        await conn.execute("DROP INDEX payments_one_live")
    async with scene(up, durable_databases, name) as it:
        invoice_id = await it.invoice()
        await killed_while_charging(it, durable_databases, "charged", invoice_id)
        await it.charge(await it.api(), invoice_id)

        with pytest.raises(AssertionError, match="was charged 2 times"):
            await it.check_charged_once(invoice_id)


@both
async def test_with_a_fresh_key_on_each_send_it_is_charged_twice(up, durable_databases, name):
    """The negative control: as the test above, but the key is made when sending."""
    async with scene(up, durable_databases, name) as it:
        invoice_id = await it.invoice()
        await killed_while_charging(it, durable_databases, "charged", invoice_id, FRESH_KEYS="1")
        it.wait(TAKEN_OVER)
        await it.worker(FRESH_KEYS="1")
        await it.becomes(invoice_id, "succeeded")

        with pytest.raises(AssertionError, match="was charged 2 times"):
            await it.check_charged_once(invoice_id)


async def storm_of_callers(it: Scene, invoice_id: str) -> list[int]:
    """The answers to CALLERS at once, half at each of two processes; the provider is slow."""
    apis = [await it.api(), await it.api()]
    it.fake.faults.append("hold")
    asked = [
        asyncio.create_task(it.charge(apis[number % 2], invoice_id)) for number in range(CALLERS)
    ]

    async def all_but_those_at_the_provider() -> bool:
        return sum(task.done() for task in asked) + len(it.fake.heard) >= CALLERS

    await eventually(all_but_those_at_the_provider)
    it.fake.release.set()
    return [answer.status_code for answer in await asyncio.gather(*asked)]


@both
async def test_fifty_callers_at_two_processes_make_one_call(up, durable_databases, name):
    async with scene(up, durable_databases, name) as it:
        invoice_id = await it.invoice()
        answers = await storm_of_callers(it, invoice_id)

        assert sorted(answers) == [200] + [409] * (CALLERS - 1)
        assert len(it.fake.heard) == 1
        await it.check_charged_once(invoice_id)


async def test_fifty_callers_without_the_index_make_more(up, durable_databases):
    """The negative control."""
    async with durable_databases.live.connection() as conn:
        await conn.execute("DROP INDEX payments_one_live")
    async with scene(up, durable_databases, "stripe") as it:
        invoice_id = await it.invoice()
        await storm_of_callers(it, invoice_id)
        assert len(it.fake.charges) > 1
