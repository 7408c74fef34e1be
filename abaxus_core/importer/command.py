"""The command `abaxus events import FILE`, mounted by cli.py."""

import asyncio
import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from abaxus_core.errors import AbaxusError
from abaxus_core.importer.ledger import Ledger, Progress
from abaxus_core.importer.run import import_file

DEFAULT_URL: Final = "http://127.0.0.1:8080"
EXIT_STOPPED: Final = 1
EXIT_REJECTS: Final = 3


@click.group()
def events() -> None:
    """Usage events from the shell."""


@events.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", envvar="ABAXUS_URL", default=DEFAULT_URL, show_default=True)
@click.option(
    "--key", envvar="ABAXUS_API_KEY", required=True, help="An API key; or ABAXUS_API_KEY."
)
def import_events(*, file: Path, url: str, key: str) -> None:
    """Send the events of FILE (.ndjson, .jsonl or .csv, also .gz) to the API.

    May be cut off and started again at any point: nothing is lost, nothing counts twice. Exit code
    0: all taken; 1: stopped, run it again; 3: some rejected, see FILE.rejects.ndjson.
    """
    try:
        ledger = import_with_progress(file, url=url, key=key)
    except AbaxusError as error:
        click.echo(f"abaxus: {error.message}", err=True)
        sys.exit(EXIT_STOPPED)
    _summarise(ledger)
    if ledger.progress.rejected:
        sys.exit(EXIT_REJECTS)


def import_with_progress(file: Path, *, url: str, key: str) -> Ledger:
    """Import the file and show a progress bar; raises as `import_file`."""
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[events]:,} events"),
        TextColumn("{task.fields[rate]:,}/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(file.name, total=file.stat().st_size, events=0, rate=0)
        return asyncio.run(import_file(file, url=url, key=key, report=_Meter(bar, task)))


class _Meter:
    """Moves the bar; the rate is that of this run, an earlier one's events aside."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._before: int | None = None

    def __call__(self, progress: Progress, position: int) -> None:
        if self._before is None:
            self._before = progress.total
        elapsed = self._bar.tasks[self._task].elapsed
        sent = progress.total - self._before
        rate = int(sent / elapsed) if elapsed else 0
        self._bar.update(self._task, completed=position, events=progress.total, rate=rate)


def _summarise(ledger: Ledger) -> None:
    progress = ledger.progress
    click.echo(
        f"{progress.total:,} events: {progress.accepted:,} accepted, "
        f"{progress.duplicates:,} known already, {progress.rejected:,} rejected"
    )
    if progress.rejected:
        click.echo(f"The rejected ones and why: {ledger.rejects_path}", err=True)
