"""What invoicing asks often finds its rows by an index, whatever history is stored beside them."""

from datetime import UTC, datetime

import pytest

from abaxus_core.kernel import sql
from tests.support.books import Books, make_crowd
from tests.support.metering import fetch

CROWD = 400
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
LAST = 2**62
ASKED: dict[str, tuple[object, ...]] = {
    "billing.accounts": ([7],),
    "billing.credits": ([7],),
    "billing.subscriptions": ([7], MAY),
    "billing.changed_days": ([7], 3),
    "billing.open_windows": ([7],),
    "billing.billed": (["sub_c7"], [APRIL]),
    "invoices.get": ("inv_1",),
    "invoices.lines": (["inv_1"],),
    "invoices.page": (LAST, 10),
    "invoices.page_of_status": ("paid", LAST, 10),
    "invoices.page_of_customer": ("c7", ["issued"], LAST, 10),
    "bulk_runs.done_among": ("job_1", [7]),
    "bulk_runs.failures": (["job_1"], 100),
    "audit.page": (LAST, 10),
    "audit.page_of_object": ("invoice", "inv_1", None, None, LAST, 10),
    "audit.page_of_action": ("bulk_run.started", None, None, LAST, 10),
    "audit.page_of_actor": ("key_1", None, LAST, 10),
    "audit.page_of_type": ("bulk_run", LAST, 10),
}
HISTORY = (
    "invoices",
    "invoice_lines",
    "subscriptions",
    "usage_daily",
    "bulk_run_customers",
    "audit_log",
)


@pytest.mark.parametrize("name", ASKED)
async def test_no_hot_statement_scans_history(full: Books, name: str) -> None:
    aggregate, _, statement = name.partition(".")
    text = sql.load(aggregate)[statement].text
    rows = await fetch(full.context.database, f"EXPLAIN {text}", *ASKED[name])
    plan = "\n".join(str(line) for (line,) in rows)
    assert not [table for table in HISTORY if f"Seq Scan on {table} " in plan], plan


@pytest.fixture
async def full(books: Books) -> Books:
    """Two invoices and more of each of CROWD customers, analysed."""
    await make_crowd(books, CROWD)
    await books.run_bulk("2026-04-15")
    await books.run_bulk("2026-04-30")
    await fetch(books.context.database, "ANALYZE")
    return books
