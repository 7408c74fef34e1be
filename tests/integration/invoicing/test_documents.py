"""Documents of invoices over HTTP: the page, the PDF, who gets them and how."""

import dataclasses
import re

import msgspec

from abaxus_core.services import invoice_documents
from abaxus_core.services.documents import making, press
from tests.support.api import bearer, error_of, new_key
from tests.support.books import Books, make_growth
from tests.support.collection import make_invoice
from tests.support.documents import pages_of


async def test_the_golden_invoice_as_a_page_and_as_a_pdf(books: Books) -> None:
    await make_growth(books)
    await books.use(1_374_923)
    invoice = await books.invoice()

    page = await books.client.get(f"/v1/invoices/{invoice['id']}/html")
    pdf = await books.client.get(f"/v1/invoices/{invoice['id']}/pdf")

    assert (page.status_code, pdf.status_code) == (200, 200)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.headers["content-disposition"] == 'inline; filename="INV-000001.pdf"'
    policy = page.headers["content-security-policy"]
    assert re.match(r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; ", policy)
    for answer in (page, pdf):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for text in (page.text, "\n".join(pages_of(pdf.content))):
        for shown in ("INV-000001", "157.75 USD", "1,374,923", "18.74615", "49.00", "Tier 3"):
            assert shown in text, shown


async def test_collecting_or_archiving_leaves_the_bytes_alone(books: Books) -> None:
    await make_growth(books)
    await books.use(1)
    path = f"/v1/invoices/{(await books.invoice())['id']}"
    before = [(await books.client.get(f"{path}/{form}")).content for form in ("pdf", "html")]

    await books.post(f"{path}/archive", status=200, reason="mistake")

    after = [(await books.client.get(f"{path}/{form}")).content for form in ("pdf", "html")]
    assert after == before


async def test_an_invoice_keeps_who_issued_it_and_to_whom(books: Books) -> None:
    await make_growth(books)
    await books.use(1)
    path = f"/v1/invoices/{(await books.invoice())['id']}/pdf"
    before = (await books.client.get(path)).content
    assert "Seller GmbH" in "".join(pages_of(before))

    renamed = {"name": "Somebody Else", "email": "else@customer.example"}
    assert (await books.client.patch("/v1/customers/acme", json=renamed)).status_code == 200
    moved = msgspec.structs.replace(books.context.seller, name="Seller AG")
    later = dataclasses.replace(books.context, seller=moved)
    assert (await invoice_documents.pdf(later, path.split("/")[3])).content == before
    assert (await books.client.get(path)).content == before


async def test_an_invoice_that_is_not_there(books: Books) -> None:
    for form in ("html", "pdf"):
        missing = await books.client.get(f"/v1/invoices/inv_none/{form}")
        assert error_of(missing)[:2] == (404, "INVOICE_NOT_FOUND")
        assert missing.headers["content-type"] == "application/json"


async def test_reading_is_needed_and_each_mode_has_its_own(books: Books) -> None:
    await make_growth(books)
    await books.use(1)
    invoice_id = (await books.invoice())["id"]
    for form in ("html", "pdf"):
        path = f"/v1/invoices/{invoice_id}/{form}"
        for scope, status in (("read", 200), ("ingest", 403), ("entitlements", 403)):
            key = await new_key(books.context, scope)
            answer = await books.client.get(path, headers=bearer(key))
            assert answer.status_code == status
        assert (await books.client.get(path, headers={"Authorization": ""})).status_code == 401
        test_key = await new_key(books.test_context, "read")
        hidden = await books.client.get(path, headers=bearer(test_key))
        assert error_of(hidden)[:2] == (404, "INVOICE_NOT_FOUND")


async def test_more_than_a_document_holds_is_refused(books: Books, monkeypatch) -> None:
    await make_growth(books)
    await books.use(1)
    invoice_id = (await books.invoice())["id"]
    monkeypatch.setattr(making, "ROWS_MAX", 1)
    for form in ("html", "pdf"):
        refused = await books.client.get(f"/v1/invoices/{invoice_id}/{form}")
        assert error_of(refused)[:2] == (422, "DOCUMENT_TOO_LONG")


async def test_more_than_can_wait_are_told_when_to_come_back(books: Books, monkeypatch) -> None:
    await make_growth(books)
    await books.use(1)
    invoice_id = (await books.invoice())["id"]
    monkeypatch.setattr(press, "WAITING_MAX", -1)
    busy = await books.client.get(f"/v1/invoices/{invoice_id}/pdf")
    assert error_of(busy)[:2] == (429, "DOCUMENTS_BUSY")
    assert busy.headers["retry-after"] == "2"


async def test_documents_of_test_mode_say_so(books: Books) -> None:
    context = books.test_context
    invoice_id = await make_invoice(context.database, context.clock())
    key = await new_key(context, "read")
    page = await books.client.get(f"/v1/invoices/{invoice_id}/html", headers=bearer(key))
    pdf = await books.client.get(f"/v1/invoices/{invoice_id}/pdf", headers=bearer(key))
    for text in (page.text, pages_of(pdf.content)[0]):
        assert "Test document. Nothing is owed." in text
