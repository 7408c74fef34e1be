"""The command `abaxus events import FILE`, mounted by cli.py."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from abaxus_core.errors import AbaxusError, InvalidInput
from abaxus_core.importer.content import STDIN, size_of
from abaxus_core.importer.ledger import Ledger, Order
from abaxus_core.importer.mapping import parse_mapping
from abaxus_core.importer.meter import shown
from abaxus_core.importer.run import import_events
from abaxus_core.importer.source import Kind, Reading, Source, kind_of
from abaxus_core.kernel import event_loop

DEFAULT_URL: Final = "http://127.0.0.1:8080"
EXIT_STOPPED: Final = 1
EXIT_REJECTS: Final = 3
SAMPLE_MAX: Final = 3

_INPUT: Final = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
_OUTPUT: Final = click.Path(dir_okay=False, path_type=Path)


@click.group()
def events() -> None:
    """Usage events from the shell."""


@events.command("import")
@click.argument("file", type=_INPUT)
@click.option("--url", envvar="ABAXUS_URL", default=DEFAULT_URL, show_default=True)
@click.option("--key", envvar="ABAXUS_API_KEY", help="An API key; or ABAXUS_API_KEY.")
@click.option("--format", "kind", type=click.Choice(["ndjson", "csv"]), help="Else by suffix.")
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN")
@click.option("--constant", "constants", multiple=True, metavar="FIELD=VALUE")
@click.option("--property", "properties", multiple=True, metavar="NAME[=COLUMN]")
@click.option("--progress", type=_OUTPUT, help="Where progress is noted, else FILE.progress.")
@click.option("--rejects", type=_OUTPUT, help="Where rejects go, else FILE.rejects.ndjson.")
@click.option("--dry-run", is_flag=True, help="Read all, show the first events, send nothing.")
def import_command(
    *,
    file: Path,
    url: str,
    key: str | None,
    kind: Kind | None,
    columns: Sequence[str],
    constants: Sequence[str],
    properties: Sequence[str],
    progress: Path | None,
    rejects: Path | None,
    dry_run: bool,
) -> None:
    """Send the events of FILE (NDJSON or CSV, also .gz or .zst; - is standard input) to the API.

    May be cut off and started again at any point: nothing is lost, nothing counts twice. Exit code
    0: all taken; 1: stopped, run it again; 3: some rejected, see FILE.rejects.ndjson.
    """
    reading = _reading(file, kind, columns=columns, constants=constants, properties=properties)
    if dry_run:
        rejected = _until_stopped(lambda: _try_out(file, reading))
    elif key is None:
        raise click.UsageError("an API key is needed: --key, or ABAXUS_API_KEY")
    else:
        order = Order(
            path=file, url=url, key=key, reading=reading, progress=progress, rejects=rejects
        )
        rejected = _until_stopped(lambda: _import(order))
    if rejected:
        sys.exit(EXIT_REJECTS)


def import_with_progress(path: Path, *, url: str, key: str) -> Ledger:
    """Import the file as it is and show how it goes; raises as `import_events`."""
    return _run(Order(path=path, url=url, key=key))


def _reading(
    path: Path,
    kind: Kind | None,
    *,
    columns: Sequence[str],
    constants: Sequence[str],
    properties: Sequence[str],
) -> Reading:
    try:
        mapping = parse_mapping(columns=columns, constants=constants, properties=properties)
        return Reading(kind=kind or kind_of(path), mapping=mapping)
    except InvalidInput as error:
        raise click.UsageError(error.message) from error


def _until_stopped(step: Callable[[], int]) -> int:
    try:
        return step()
    except AbaxusError as error:
        click.echo(f"abaxus: {error.message}", err=True)
        sys.exit(EXIT_STOPPED)


def _run(order: Order) -> Ledger:
    name = "standard input" if order.path == STDIN else order.path.name
    with shown(name, size=size_of(order.path)) as meter:
        return event_loop.run(import_events(order, meter))


def _import(order: Order) -> int:
    """Return how many were rejected."""
    ledger = _run(order)
    progress = ledger.progress
    click.echo(
        f"{progress.total:,} events: {progress.accepted:,} accepted, "
        f"{progress.duplicates:,} known already, {progress.rejected:,} rejected"
    )
    if progress.rejected:
        reasons = ", ".join(f"{count:,} {code}" for code, count in progress.reasons.items())
        click.echo(f"Rejected: {reasons}; each with its reason in {ledger.rejects_path}", err=True)
    return progress.rejected


def _try_out(path: Path, reading: Reading) -> int:
    """Show the first events as they would be sent; return how many records would not be."""
    count = faulty = 0
    with Source(path, reading) as source:
        for record in source.records():
            count += 1
            if record.fault is not None:
                faulty += 1
                if faulty <= SAMPLE_MAX:
                    click.echo(f"record {record.number} {record.fault.message}", err=True)
            elif count - faulty <= SAMPLE_MAX:
                click.echo(record.event)
    if source.left_aside:
        click.echo(f"Columns left aside: {', '.join(source.left_aside)}", err=True)
    click.echo(
        f"{count:,} records, {faulty:,} of them not worth sending; nothing was sent", err=True
    )
    return faulty
