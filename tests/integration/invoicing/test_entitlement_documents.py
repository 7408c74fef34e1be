"""Documents are stored with each change, whatever changes; of two changes none is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta

import pytest

from abaxus_core.domain.entitlement_documents import Document
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import entitlement_documents as repository
from abaxus_core.repositories.entitlement_documents import decoded
from abaxus_core.services import amendments
from abaxus_core.services.entitlements import documents
from abaxus_core.services.entitlements.documents import resolve
from abaxus_core.services.work import SYSTEM, Work, perform
from tests.support.books import CALLS, PER_CALL, Books, next_job
from tests.support.clock import FakeClock
from tests.support.locks import are_waiting, holding
from tests.support.metering import fetch
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

FEE = {"pricing_model": "flat_fee", "amount": "49.00"}
HELD = "SELECT FROM entitlement_documents FOR UPDATE"
LATER = "2026-06-01T00:00:00Z"


def calls(limit: int) -> list[dict[str, object]]:
    return [{"feature_key": "calls", "type": "limit", "limit": limit, "metric_key": "api_calls"}]


@pytest.fixture
async def subscription(books: Books) -> str:
    """acme's on version 1 of growth, of 100 calls; version 2 has 500."""
    await books.metric(**CALLS)
    await books.plan(PER_CALL, entitlements=calls(100))
    await books.plan(PER_CALL, entitlements=calls(500))
    await books.plan(FEE, plan_id="extra", entitlements=calls(7))
    await books.customer()
    return await books.subscribe(plan_version=1)


async def stored(books: Books, customer_id: str = "acme") -> tuple[int, Document]:
    ((version, text),) = await fetch(
        books.context.database,
        "SELECT version, document FROM entitlement_documents JOIN customers USING (customer_no)"
        f" WHERE customer_id = '{customer_id}'",
    )
    document = decoded(str(text))
    assert document is not None
    assert isinstance(version, int)
    return version, document


async def follows(books: Books, document: Document) -> bool:
    """Whether the document is what follows from what is stored of the customer now."""
    async with books.context.database.connection() as conn:
        return [document] == await resolve(conn, [document.customer_no], now=books.context.clock())


async def amend(books: Books, subscription_id: str, **fields: object) -> str:
    path = f"/v1/subscriptions/{subscription_id}/amendments"
    return str((await books.post(path, **fields))["id"])


async def subscribe(books: Books, _subscription_id: str, _clock: FakeClock) -> None:
    await books.subscribe(plan_id="extra", end_date=LATER)


async def amend_now(books: Books, subscription_id: str, _clock: FakeClock) -> None:
    fields = {"type": "plan_change", "plan_id": "growth", "plan_version": 2}
    await amend(books, subscription_id, effective="immediate", **fields)


async def amend_later(books: Books, subscription_id: str, _clock: FakeClock) -> None:
    await amend(books, subscription_id, type="cancel", effective=LATER)


async def take_back(books: Books, subscription_id: str, clock: FakeClock) -> None:
    path = f"/v1/subscriptions/{subscription_id}/amendments"
    await amend_later(books, subscription_id, clock)
    (pending,) = (await books.get(path))["data"]
    await books.post(f"{path}/{pending['id']}/cancel", 200)


async def fall_due(books: Books, subscription_id: str, clock: FakeClock) -> None:
    """The later of two like changes, asked for first, cannot be applied any more, and fails."""
    for effective in ("2026-05-13T00:00:00Z", "2026-05-12T00:00:00Z"):
        fields = {"type": "plan_change", "plan_id": "growth", "plan_version": 2}
        await amend(books, subscription_id, effective=effective, **fields)
    clock.advance(timedelta(days=5))


async def be_applied(books: Books, subscription_id: str, clock: FakeClock) -> None:
    await fall_due(books, subscription_id, clock)
    await amendments.apply_due(books.context)


async def be_applied_by_the_next(books: Books, subscription_id: str, clock: FakeClock) -> None:
    await fall_due(books, subscription_id, clock)
    await amend(books, subscription_id, type="pause", effective=LATER)


async def be_invoiced(books: Books, subscription_id: str, clock: FakeClock) -> None:
    await fall_due(books, subscription_id, clock)
    await books.use(5)
    await books.invoice()


async def be_invoiced_with_all(books: Books, subscription_id: str, clock: FakeClock) -> None:
    await fall_due(books, subscription_id, clock)
    await books.use(5)
    await books.bulk()
    while run := await next_job(books.context):
        await run()


Change = Callable[[Books, str, FakeClock], Awaitable[None]]
CHANGES: tuple[Change, ...] = (
    subscribe,
    amend_now,
    amend_later,
    take_back,
    be_applied,
    be_applied_by_the_next,
    be_invoiced,
    be_invoiced_with_all,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_change_stores_the_document_that_follows(
    books: Books, clock: FakeClock, subscription: str, change: Change
) -> None:
    version, before = await stored(books)
    assert await follows(books, before)
    await change(books, subscription, clock)
    changed, after = await stored(books)
    assert changed > version
    assert (after == before) is (change is take_back)
    assert await follows(books, after)


async def test_a_customer_is_born_with_a_document_of_nothing(books: Books) -> None:
    await books.customer()
    _, document = await stored(books)
    assert document.plans == ()
    assert await follows(books, document)


async def test_what_is_refused_or_changes_nothing_granted_leaves_it(
    books: Books, subscription: str
) -> None:
    before = await stored(books)
    await books.refused("/v1/subscriptions", customer_id="acme", plan_id="nope", start_date=LATER)
    response = await books.client.patch("/v1/customers/acme", json={"name": "Acme"})
    assert response.status_code == 200
    await books.use(5)
    await books.invoice()
    assert await stored(books) == before


@pytest.mark.parametrize(
    "left",
    [
        "DELETE FROM entitlement_documents",
        "UPDATE entitlement_documents SET document = NULL",
        'UPDATE entitlement_documents SET document = \'{"format": 0, "customer_no": 1}\'',
        "UPDATE entitlement_documents SET document = '{}'",
    ],
)
async def test_what_another_release_left_is_worked_out_when_asked_for(
    books: Books, subscription: str, left: str
) -> None:
    before = await stored(books)
    async with books.context.database.connection() as conn:
        await conn.execute(left)
    query = {"customer_id": "acme", "feature_key": "calls"}
    assert (await books.get("/v1/entitlements/check", **query))["limit"] == "100"
    assert (await stored(books))[1] == before[1]


async def _both_amended(books: Books, databases: TestDatabases, subscription_id: str) -> None:
    """Two subscriptions of acme are cancelled at once; both changes wait for the document."""
    other = await books.subscribe(plan_id="extra")
    async with holding(databases.dsn, HELD):
        rivals = [
            asyncio.create_task(amend(books, each, type="cancel", effective="immediate"))
            for each in (subscription_id, other)
        ]
        await eventually(are_waiting, databases.test, len(rivals))
    await asyncio.gather(*rivals)


async def test_of_two_changes_of_a_customer_the_later_sees_the_earlier(
    books: Books, databases: TestDatabases, subscription: str
) -> None:
    await _both_amended(books, databases, subscription)
    _, document = await stored(books)
    assert await follows(books, document)
    assert document.plans == ()


async def test_without_the_claim_before_the_reading_one_of_them_is_lost(
    books: Books, databases: TestDatabases, subscription: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reading_first(
        conn: Connection, customer_ids: Collection[str], *, now: datetime
    ) -> None:
        made = await resolve(conn, [(await stored(books))[1].customer_no], now=now)
        await repository.claim(conn, customer_ids)
        await repository.store(conn, made)

    monkeypatch.setattr(documents, "renew", reading_first)
    await _both_amended(books, databases, subscription)
    _, document = await stored(books)
    assert not await follows(books, document)


async def test_changes_of_many_customers_wait_in_no_circle(
    books: Books, databases: TestDatabases
) -> None:
    """Each changes all, named in another order; without one order they would deadlock."""
    ids = [f"c{number}" for number in range(8)]
    for customer_id in ids:
        await books.customer(customer_id)
    now = datetime(2026, 5, 1, tzinfo=UTC)
    attempts = []

    async def renewing(conn: Connection) -> None:
        attempts.append(1)
        await documents.renew(conn, ids if len(attempts) % 2 else ids[::-1], now=now)

    async with holding(databases.dsn, HELD):
        rivals = [asyncio.create_task(databases.live.transaction(renewing)) for _ in range(6)]
        await eventually(are_waiting, databases.test, 3)
    await asyncio.gather(*rivals)
    assert len(attempts) == len(rivals)


async def test_a_change_that_is_rolled_back_tells_nobody(books: Books, subscription: str) -> None:
    before = await stored(books)

    async def step(work: Work) -> None:
        work.entitled.add("acme")
        raise LookupError

    with pytest.raises(LookupError):
        await perform(books.context, SYSTEM, step)
    assert await stored(books) == before


async def test_a_version_never_comes_again_even_if_commits_are_lost(
    books: Books, subscription: str
) -> None:
    """What a process remembers of the lost ones would pass for the new."""
    version, _ = await stored(books)
    await books.subscribe(plan_id="extra")
    lost, _ = await stored(books)
    async with books.context.database.connection() as conn:
        await conn.execute("UPDATE entitlement_documents SET version = $1", version)
    await books.subscribe(plan_id="extra")
    assert (await stored(books))[0] > lost
