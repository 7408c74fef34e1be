"""The commands `abaxus events quarantine list|retry`, mounted by cli.py."""

import os
import sys
from collections.abc import Sequence

import click
import msgspec
from rich.console import Console
from rich.text import Text

from abaxus_core import app
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import MODES
from abaxus_core.kernel.ids import Ids
from abaxus_core.repositories.quarantine import SetAside
from abaxus_core.services import quarantine as service
from abaxus_core.services.landing import Landed
from abaxus_core.shell import minute, run, table

EXIT_STAYED = 1

_mode = click.option("--mode", default="live", type=click.Choice(MODES), show_default=True)


@click.group()
def quarantine() -> None:
    """Accepted events that could not land, and were set aside."""


@quarantine.command("list")
@_mode
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def list_command(*, mode: str, as_json: bool) -> None:
    """List what was set aside, oldest first: a row for each accepted request, with the error."""
    rows = run(_everything(mode))
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row))
        return
    listed = table("inbox_id", "events", "received", "quarantined", "error")
    for row in rows:
        received, quarantined = minute(row.received_at), minute(row.quarantined_at)
        listed.add_row(
            str(row.inbox_id), str(row.event_count), received, quarantined, Text(row.error)
        )
    Console().print(listed)


@quarantine.command("retry")
@click.argument("inbox_ids", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "everything", is_flag=True, help="All that is set aside.")
@_mode
def retry_command(*, inbox_ids: Sequence[int], everything: bool, mode: str) -> None:
    """Land what was set aside, after its cause is gone: rows by INBOX_IDS, or --all.

    Each row lands whole or stays, with its error. May be stopped and started again at any point:
    nothing is stored twice. Exit code 0: all landed; 1: some stayed, or were not there.
    """
    if everything == bool(inbox_ids):
        raise click.UsageError("name rows by their inbox_id, or --all")
    if not run(_retry(mode, None if everything else inbox_ids)):
        sys.exit(EXIT_STAYED)


async def _everything(mode: str) -> list[SetAside]:
    async with app.opened_database(os.environ, mode=mode, process="quarantine") as database:
        return [row async for row in service.everything(database)]


async def _retry(mode: str, inbox_ids: Sequence[int] | None) -> bool:
    """Say what became of each row; return whether all have landed."""
    async with app.opened_database(os.environ, mode=mode, process="quarantine") as database:
        if inbox_ids is None:
            inbox_ids = [row.inbox_id async for row in service.everything(database)]
        landed_count = stored_count = 0
        async for inbox_id, landed in service.retry(database, system_clock, Ids(), inbox_ids):
            missed = _missed(landed)
            if missed:
                click.echo(f"{inbox_id} {missed}", err=True)
            else:
                landed_count += 1
            stored_count += landed.stored_count
    click.echo(f"{landed_count:,} rows landed, {stored_count:,} events stored")
    return landed_count == len(inbox_ids)


def _missed(landed: Landed) -> str | None:
    if landed.row_count == 0:
        return "is not in the quarantine"
    return "still cannot land; list says why" if landed.quarantined_count else None
