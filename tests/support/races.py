"""What races for invoices are asked and answered."""

from collections.abc import Sequence

from abaxus_core.kernel.database import Database
from tests.support.books import CALLS, PER_CALL, Books
from tests.support.metering import fetch


async def make_calls(books: Books, customer_ids: Sequence[str] = ("acme",)) -> None:
    """Customers who pay a cent a call from April on."""
    await books.metric(**CALLS)
    await books.plan(PER_CALL)
    for customer_id in customer_ids:
        await books.customer(customer_id)
        await books.subscribe(customer_id)


async def ask_for_invoice(books: Books) -> str:
    """What acme's invoice of April is answered with: `created`, or the code of the error."""
    body = {"customer_id": "acme", "cutoff_date": "2026-04-30"}
    response = await books.client.post("/v1/invoices", json=body)
    return "created" if response.status_code == 201 else response.json()["error"]["code"]


async def billed(database: Database) -> object:
    """The sum of all lines, in minor units."""
    ((amount_minor,),) = await fetch(database, "SELECT sum(amount_minor) FROM invoice_lines")
    return amount_minor


async def numbers(database: Database) -> list[object]:
    """Those of all invoices, in order."""
    rows = await fetch(database, "SELECT number FROM invoices ORDER BY number NULLS FIRST")
    return [number for (number,) in rows]
