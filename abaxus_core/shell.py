"""How commands run, and what they print: shared by the groups of the command line."""

import sys
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import click
from rich.table import Column, Table

from abaxus_core.errors import AbaxusError
from abaxus_core.kernel import event_loop

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the work of a command; a fault of the world ends the process in a sentence."""
    try:
        return event_loop.run(work)
    except AbaxusError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


def fail(error: AbaxusError) -> NoReturn:
    """Say what is wrong on standard error; exit code 1."""
    for line in error.message.splitlines():
        click.echo(f"abaxus: {line}", err=True)
    sys.exit(1)


def table(first: str, *names: str) -> Table:
    """A table that wraps and cuts nothing off; the first column is for copying, and stays whole."""
    columns = (Column(first, no_wrap=True), *(Column(name, overflow="fold") for name in names))
    return Table(*columns, box=None, pad_edge=False)


def minute(instant: datetime | None) -> str:
    """An instant to the minute, in UTC."""
    return f"{instant:%Y-%m-%d %H:%MZ}" if instant else ""
