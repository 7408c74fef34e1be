"""An invoice's life through the API: listed, charged, mailed, archived, and all of it on record."""

import asyncio

import pytest

from tests.support.api import bearer, new_key
from tests.support.books import Answer, Books, make_growth

METHOD = {"provider_customer_id": "cus_1", "provider_payment_method": "pm_ok"}


async def invoiced(
    books: Books, *, method: str = "pm_ok", email: str | None = "pay@acme.example"
) -> Answer:
    await make_growth(books)
    await books.client.patch(
        "/v1/customers/acme",
        json={"email": email, "payment_method": {**METHOD, "provider_payment_method": method}},
    )
    await books.use(1_374_923)
    return await books.invoice()


async def actions(books: Books, invoice: Answer) -> list[str]:
    trail = await books.get(f"/v1/invoices/{invoice['id']}/audit")
    return [entry["action"] for entry in trail["data"]]


async def test_a_charge_pays(books: Books) -> None:
    invoice = await invoiced(books)
    charged = await books.post(f"/v1/invoices/{invoice['id']}/charge", 200)
    assert (charged["status"], charged["payment_status"]) == ("paid", "succeeded")
    assert charged["paid_at"] == "2026-05-10T12:00:00Z"
    payment = charged["payment"]
    assert (payment["status"], payment["amount"], payment["currency"]) == (
        "succeeded",
        15775,
        "usd",
    )
    assert payment["provider"] == "sandbox"
    assert charged["line_items"] == invoice["line_items"]
    assert await books.refused(f"/v1/invoices/{invoice['id']}/charge") == (
        409,
        "INVALID_STATE",
        None,
    )
    assert (await actions(books, invoice))[-1] == "invoice.issued"
    assert "invoice.paid" in await actions(books, invoice)


async def test_a_charge_again_under_its_key_is_the_same_answer(books: Books) -> None:
    invoice = await invoiced(books)
    path = f"/v1/invoices/{invoice['id']}/charge"
    first = await books.client.post(path, json={"idempotency_key": "once"})
    again = await books.client.post(path, json={"idempotency_key": "once"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["idempotent-replay"] == "true"


async def test_an_order_again_under_its_key_is_the_same_invoice(books: Books) -> None:
    await make_growth(books)
    await books.use(1_374_923)
    order = {"customer_id": "acme", "cutoff_date": "2026-04-30", "idempotency_key": "april"}
    first = await books.client.post("/v1/invoices", json=order)
    again = await books.client.post("/v1/invoices", json=order)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["idempotent-replay"] == "true"
    assert await books.refused("/v1/invoices", **{**order, "cutoff_date": "2026-05-01"}) == (
        422,
        "IDEMPOTENCY_KEY_REUSED",
        "idempotency_key",
    )


async def test_orders_at_once_under_one_key_make_one_invoice(books: Books) -> None:
    await make_growth(books)
    await books.use(1_374_923)
    order = {"customer_id": "acme", "cutoff_date": "2026-04-30", "idempotency_key": "april"}
    answers = await asyncio.gather(
        *(books.client.post("/v1/invoices", json=order) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1


async def test_a_declined_charge_says_why_and_leaves_the_invoice_issued(books: Books) -> None:
    invoice = await invoiced(books, method="pm_insufficient_funds")
    response = await books.client.post(f"/v1/invoices/{invoice['id']}/charge")
    assert response.status_code == 402
    error = response.json()["error"]
    assert error["code"] == "PAYMENT_DECLINED"
    assert error["details"]["code"] == "insufficient_funds"
    stored = await books.get(f"/v1/invoices/{invoice['id']}")
    assert (stored["status"], stored["payment_status"]) == ("issued", "failed")


async def test_a_pending_charge_is_accepted_and_blocks_archiving(books: Books) -> None:
    invoice = await invoiced(books, method="pm_pending")
    path = f"/v1/invoices/{invoice['id']}"
    pending = await books.post(f"{path}/charge", 202)
    assert (pending["status"], pending["payment"]["status"]) == ("issued", "pending")
    assert await books.refused(f"{path}/charge") == (409, "CHARGE_IN_PROGRESS", None)
    assert await books.refused(f"{path}/archive", reason="lost") == (
        409,
        "CHARGE_IN_PROGRESS",
        None,
    )


async def test_charging_a_total_of_nothing_pays_it_without_a_provider(books: Books) -> None:
    await make_growth(books)
    await books.use(5)
    invoice = await books.invoice("2026-04-15")
    charged = await books.post(f"/v1/invoices/{invoice['id']}/charge", 200)
    assert (charged["status"], charged["total_amount"], charged["payment"]) == ("paid", 0, None)


async def test_two_charges_at_once_pay_once(books: Books) -> None:
    invoice = await invoiced(books)
    path = f"/v1/invoices/{invoice['id']}/charge"
    answers = await asyncio.gather(*(books.client.post(path) for _ in range(5)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 409, 409, 409, 409]


async def test_sending_queues_the_mail(books: Books) -> None:
    invoice = await invoiced(books)
    sent = await books.post(f"/v1/invoices/{invoice['id']}/send", 202)
    assert sent["email"]["status"] == "queued"
    assert (await books.get(f"/v1/invoices/{invoice['id']}"))["email"] == sent["email"]


async def test_sending_to_nobody(books: Books) -> None:
    invoice = await invoiced(books, email=None)
    assert await books.refused(f"/v1/invoices/{invoice['id']}/send") == (
        422,
        "NO_EMAIL_ADDRESS",
        "email",
    )


async def test_archiving_is_final_and_the_usage_stays_billed(books: Books) -> None:
    invoice = await invoiced(books)
    path = f"/v1/invoices/{invoice['id']}"
    archived = await books.post(f"{path}/archive", 200, reason="uncollectible")
    assert (archived["status"], archived["archive_reason"]) == ("archived", "uncollectible")
    assert archived["archived_at"] == "2026-05-10T12:00:00Z"
    for verb, body in (("archive", {"reason": "again"}), ("charge", {}), ("send", {})):
        assert await books.refused(f"{path}/{verb}", **body) == (409, "INVALID_STATE", None)
    assert await books.invoice_refused() == (409, "NOTHING_TO_INVOICE", None)
    assert await actions(books, invoice) == ["invoice.archived", "invoice.issued"]


async def test_a_paid_invoice_is_not_archived(books: Books) -> None:
    invoice = await invoiced(books)
    await books.post(f"/v1/invoices/{invoice['id']}/charge", 200)
    assert await books.refused(f"/v1/invoices/{invoice['id']}/archive", reason="no") == (
        409,
        "INVALID_STATE",
        None,
    )


@pytest.mark.parametrize("verb", ["charge", "send", "archive"])
async def test_verbs_on_an_unknown_invoice(books: Books, verb: str) -> None:
    body = {"reason": "x"} if verb == "archive" else {}
    refused = await books.refused(f"/v1/invoices/inv_none/{verb}", **body)
    assert refused[:2] == (404, "INVOICE_NOT_FOUND")


async def test_lists_by_customer_and_status_page_by_page(books: Books) -> None:
    await make_growth(books)
    await books.customer("beta")
    await books.subscribe("beta")
    for day in ("10", "11", "12"):
        for customer_id in ("acme", "beta"):
            await books.use(200_000, f"2026-04-{day}T00:00:00Z", customer_id=customer_id)
            await books.invoice(f"2026-04-{day}", customer_id=customer_id)
    everything = (await books.get("/v1/invoices"))["data"]
    assert [one["number"] for one in everything] == [f"INV-{n:06d}" for n in range(6, 0, -1)]
    await books.post(f"/v1/invoices/{everything[0]['id']}/archive", 200, reason="x")

    assert await _numbers(books, customer_id="acme") == [5, 3, 1]
    assert await _numbers(books, status="issued") == [5, 4, 3, 2, 1]
    assert await _numbers(books, status="archived", customer_id="beta") == [6]
    assert await _numbers(books, status="paid") == []
    assert await _numbers(books, customer_id="nobody") == []


async def _numbers(books: Books, **query: str) -> list[int]:
    numbers: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = await books.get("/v1/invoices", limit=2, **query, **cursor)
        numbers += [int(one["number"].removeprefix("INV-")) for one in page["data"]]
        if page["next_cursor"] is None:
            return numbers
        cursor = {"cursor": page["next_cursor"]}


async def test_a_trail_page_by_page(books: Books) -> None:
    invoice = await invoiced(books)
    await books.post(f"/v1/invoices/{invoice['id']}/charge", 200)
    path = f"/v1/invoices/{invoice['id']}/audit"
    whole = (await books.get(path))["data"]
    first = await books.get(path, limit=1)
    rest = await books.get(path, cursor=first["next_cursor"])
    assert first["data"] + rest["data"] == whole
    assert whole[-1]["data"]["total_amount"] == 15775
    assert whole[-1]["actor"].startswith("key_")


async def test_test_mode_has_invoices_of_its_own(books: Books) -> None:
    await invoiced(books)
    key = await new_key(books.test_context, "read")
    response = await books.client.get("/v1/invoices", headers=bearer(key))
    assert response.json() == {"data": [], "next_cursor": None}
