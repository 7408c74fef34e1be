"""The command `abaxus verify`, mounted by cli.py."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from abaxus_core import app
from abaxus_core.domain.audit_seals import Head
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import MODES
from abaxus_core.services.verification.run import Meter, Report, Unseen, everything, one
from abaxus_core.shell import run, table

EXIT_FINDINGS: Final = 1


@click.command()
@click.option("--invoice", "invoice_id", metavar="ID", help="One invoice and its events.")
@click.option("--all", "of_all", is_flag=True, help="All there is of the mode.")
@click.option("--mode", default="live", type=click.Choice(MODES), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The report as a JSON object.")
def verify(*, invoice_id: str | None, of_all: bool, mode: str, as_json: bool) -> None:
    """Derive invoices again from raw events, and check that every invariant holds.

    Writes nothing, and may run while everything else does. Exit code 0 only when all hold.
    """
    if of_all == (invoice_id is not None):
        raise click.UsageError("name an --invoice, or --all")
    report = run(_verify(mode, invoice_id))
    if as_json:
        click.echo(msgspec.json.encode({"holds": not report.findings, **_fields(report)}))
    else:
        _print(report)
    if report.findings:
        sys.exit(EXIT_FINDINGS)


async def _verify(mode: str, invoice_id: str | None) -> Report:
    async with app.opened_database(os.environ, mode=mode, process="verify") as database:
        if invoice_id is not None:
            return await one(database, invoice_id)
        with _shown() as meter:
            return await everything(database, meter, now=system_clock())


def _fields(report: Report) -> dict[str, object]:
    return {**msgspec.structs.asdict(report), "audit_head": _shown_head(report.audit_head)}


def _shown_head(head: Head | None) -> dict[str, object] | None:
    """As the log of the workers has it."""
    return None if head is None else {"seal_no": head.seal_no, "seal_hash": head.hash.hex()}


def _print(report: Report) -> None:
    if report.findings:
        listed = table("invariant", "where", "expected", "found")
        for finding in report.findings:
            cells = (finding.where, finding.expected, finding.found)
            listed.add_row(finding.invariant, *(Text(cell) for cell in cells))
        Console().print(listed)
    if report.audit_head is not None:
        head = report.audit_head
        click.echo(f"The audit log's last seal is number {head.seal_no}, {head.hash.hex()}")
    more = " or more: it stopped there" if report.cut_off else ""
    click.echo(
        f"{report.invoice_count:,} invoices, {report.event_count:,} events and "
        f"{report.audit_entry_count:,} sealed audit entries looked at; "
        f"{len(report.findings):,} findings{more}"
    )


@contextmanager
def _shown() -> Iterator[Meter]:
    """A bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Unseen()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, bar.add_task("verifying", total=None))


class _Bar:
    """Moves by events, invoices and audit entries alike: all take their time."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def begins(self, count: int) -> None:
        self._bar.update(self._task, total=count)

    def moved(self, count: int) -> None:
        self._bar.advance(self._task, count)
