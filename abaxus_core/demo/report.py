"""Prints what the demo did, for a person at a terminal."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from abaxus_core.demo import catalogue

CENTS = Decimal(100)


def usage(console: Console, by_airline: dict[str, dict[str, str]]) -> None:
    """One row an airline, one column a metric."""
    table = Table(title="Usage, January 2013", title_justify="left")
    table.add_column("airline")
    for metric in catalogue.METRICS:
        table.add_column(str(metric["key"]), justify="right")
    for airline_id, quantities in by_airline.items():
        cells = (_quantity(quantities.get(str(m["key"]), "0")) for m in catalogue.METRICS)
        table.add_row(f"{airline_id} {catalogue.AIRLINES[airline_id]}", *cells)
    console.print(table)


def run(console: Console, job: dict[str, Any]) -> None:
    """The bulk run in one line."""
    result = job["result"]
    console.print(
        f"Bulk run {job['id']}: {result['invoices_created']} invoices created, "
        f"{result['invoices_skipped']} skipped, {result['invoices_failed']} failed"
    )


def invoice(console: Console, document: dict[str, Any]) -> None:
    """An invoice in full: every line, and every tier below its line."""
    customer = catalogue.AIRLINES[document["customer_id"]]
    table = Table(
        title=f"Invoice {document['number']} for {customer}",
        caption=f"{document['period_start']} to {document['period_end']}",
        title_justify="left",
        caption_justify="left",
        show_footer=True,
    )
    table.add_column("line", footer="total")
    table.add_column("quantity", justify="right")
    table.add_column("unit price", justify="right")
    table.add_column(
        f"amount, {document['currency']}", footer=_money(document["total_amount"]), justify="right"
    )
    for line in document["line_items"]:
        quantity = "" if line["quantity"] is None else _quantity(line["quantity"])
        table.add_row(line["description"], quantity, "", _money(line["amount"]), style="bold")
        for tier in line["tier_breakdown"] or ():
            cells = (
                _tier(tier),
                *map(_quantity, (tier["quantity"], tier["unit_price"], tier["amount"])),
            )
            table.add_row(*cells, style="dim")
    console.print(table)


def collected(console: Console, document: dict[str, Any]) -> None:
    """What the payment provider answered."""
    payment = document.get("payment")
    if payment is None:
        console.print(f"Charge: {document['number']} was paid at {document['paid_at']}")
        return
    console.print(
        f"Charge: {_money(payment['amount'])} {payment['currency']} through the "
        f"{payment['provider']} provider: {payment['status']} "
        f"({payment['provider_payment_id']}); the invoice is {document['status']}"
    )


def verified(console: Console, document: dict[str, Any], verification: dict[str, Any]) -> None:
    """Whether the invoice can be derived again."""
    holds = "it holds" if verification["holds"] else f"IT DOES NOT HOLD: {verification['findings']}"
    console.print(
        f"Verified: {document['number']} derived again from {verification['event_count']:,} "
        f"raw events; {holds}"
    )


def mailed(console: Console, mails: list[Path]) -> None:
    """Where the mail lies, and its first lines."""
    for mail in mails:
        console.print(f"Mail: {mail}")
        head = mail.read_text(encoding="ascii").split("\n\n", 1)[0].splitlines()
        for header in head:
            if header.startswith(("From:", "To:", "Subject:", "Message-ID:")):
                console.print(f"  {header}", style="dim", markup=False, highlight=False)


def how_to_go_on(console: Console, *, url: str, key: str) -> None:
    """The address, a key and a first request."""
    console.print(f"\nAPI      {url}   (docs: {url}/docs)", highlight=False)
    console.print(f"API key  {key}", highlight=False)
    console.print("Try      ", end="")
    console.print(
        f"curl -s '{url}/v1/usage/summary?customer_id=UA' -H 'Authorization: Bearer {key}'",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _tier(tier: dict[str, Any]) -> str:
    up_to = "and above" if tier["up_to"] is None else f"up to {_quantity(tier['up_to'])}"
    return f"  tier {tier['tier']}, {up_to}"


def _money(amount_minor: int) -> str:
    return f"{Decimal(amount_minor) / CENTS:,.2f}"


def _quantity(quantity: str) -> str:
    return f"{Decimal(quantity):,f}"
