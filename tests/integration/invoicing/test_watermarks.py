"""Ratings that began before something else was committed, and reach the database after it."""

from collections.abc import Sequence
from datetime import date

import pytest

from abaxus_core.domain.invoices import Invoice
from abaxus_core.errors import Conflict
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import billing
from abaxus_core.repositories.billing import Account
from abaxus_core.services import invoicing
from abaxus_core.services.invoicing import Order
from abaxus_core.services.work import perform
from tests.support.books import CALLS, PER_CALL, Books, amounts


async def make_calls(books: Books) -> None:
    await books.metric(**CALLS)
    await books.plan(PER_CALL)
    await books.customer()
    await books.subscribe()


async def invoice_at(books: Books, watermark: int, cutoff: date) -> Invoice:
    order = Order(customer_id="acme", cutoff=cutoff)
    return await perform(
        books.context, "key_1", lambda work: invoicing.create(work, order, watermark)
    )


async def test_an_interim_rating_behind_the_last_invoice_gives_nothing_back(books: Books) -> None:
    await make_calls(books)
    await books.use(100)
    behind = await invoicing.settled_watermark(books.context)
    await books.use(900)
    assert amounts(await books.invoice("2026-04-15")) == [("usage", 1000)]

    with pytest.raises(Conflict) as caught:
        await invoice_at(books, behind, date(2026, 4, 15))

    assert caught.value.code == "NOTHING_TO_INVOICE"


async def test_a_late_event_beyond_the_watermark_gives_nothing_back(books: Books) -> None:
    await make_calls(books)
    await books.use(100)
    behind = await invoicing.settled_watermark(books.context)
    await books.use(900)
    assert amounts(await books.invoice()) == [("usage", 1000)]
    await books.use(10, "2026-04-20T00:00:00Z")

    with pytest.raises(Conflict) as caught:
        await invoice_at(books, behind, date(2026, 4, 30))

    assert caught.value.code == "NOTHING_TO_INVOICE"
    assert amounts(await books.invoice()) == [("adjustment", 10)]


async def test_a_first_subscription_made_meanwhile_waits_for_the_next_invoice(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.metric(**CALLS)
    await books.plan(PER_CALL)
    await books.customer()
    await books.use(100)
    read_accounts = billing.accounts

    async def then_subscribe(conn: Connection, customer_nos: Sequence[int]) -> list[Account]:
        accounts = await read_accounts(conn, customer_nos)
        await books.subscribe()
        return accounts

    monkeypatch.setattr(billing, "accounts", then_subscribe)
    assert await books.invoice_refused() == (409, "NOTHING_TO_INVOICE", None)
    monkeypatch.setattr(billing, "accounts", read_accounts)
    assert amounts(await books.invoice()) == [("usage", 100)]
