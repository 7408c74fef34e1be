"""`python -m examples.airport --out FILE`: bill a year of real flights, and check every cent.

Starts everything on an embedded PostgreSQL of its own, imports 1,663,683 events, runs the monthly
bulk invoices, re-rates the year with duckdb straight from the file, and imports all of it again.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from abaxus_core import dev
from abaxus_core.demo import catalogue, flights, scenario
from abaxus_core.demo.client import ApiClient
from abaxus_core.dev import Stack
from examples.airport import rerate, source

EVENTS = 1_663_683
FLIGHTS = 336_776
EVENTS_FILE = source.DATA_DIR / "airport-events.ndjson"
STACK_DIR = source.DATA_DIR / "airport"
# Night flights of New York's 31 December are the first of 2014 in UTC: hence a thirteenth month.
MONTHS = (*(f"2013-{month:02}" for month in range(1, 13)), "2014-01")
MEMORY_MIB_MAX = 256
POLL_S = 0.1

Invoice = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """How long the import took until the last event was accepted, and until it was metered."""

    accepted_s: float
    metered_s: float


@dataclass(frozen=True, slots=True)
class Verified:
    """How long everything took to be derived again, and what did not hold."""

    took_s: float
    findings: int
    peak_mib: int | None


@click.command()
@click.option("--out", default="invoices.json", type=click.Path(dir_okay=False, path_type=Path))
def main(*, out: Path) -> None:
    """Bill a year of flights; write all invoices to OUT as one JSON array."""
    console = Console()
    csv_file = source.download()
    count = write_events(source.records(csv_file), EVENTS_FILE, console)
    assert count == EVENTS, f"the year has {count} events"
    dev.reset(STACK_DIR)
    sys.exit(asyncio.run(_run(console, csv_file, out)))


def write_events(records: Iterable[dict[str, str]], path: Path, console: Console) -> int:
    """Write the events of all flights as NDJSON; how many there are."""
    count = 0
    with path.open("w", encoding="ascii") as lines:
        shown = track(records, "Flights to events", total=FLIGHTS, console=console)
        for event in flights.events_of(shown):
            lines.write(json.dumps(event, separators=(",", ":")) + "\n")
            count += 1
    return count


async def _run(console: Console, csv_file: Path, out: Path) -> int:
    async with dev.stack(STACK_DIR, port=free_port()) as stack:
        return await asyncio.to_thread(_bill, console, stack, csv_file, out)


def _bill(console: Console, stack: Stack, csv_file: Path, out: Path) -> int:
    with ApiClient(stack.url, stack.key) as api:
        scenario.set_up(api)
        first = import_events(stack, api, EVENTS_FILE)
        for month in MONTHS:
            job = scenario.bill(api, last_day(month))
            console.print(f"Bulk run to {last_day(month)}: {json.dumps(job['result'])}")
        invoices = all_invoices(api)
        out.write_text(json.dumps(invoices, indent=1) + "\n", encoding="utf-8")
        owed = rerate.rerate(csv_file, tuple(catalogue.AIRLINES), MONTHS)
        second = import_events(stack, api, EVENTS_FILE)
        again = scenario.bill(api, last_day(MONTHS[-1]))["result"]
        changed = rerate.difference(owed, all_invoices(api)) + again["invoices_created"]
    off = rerate.difference(owed, invoices)
    verified = verify(stack)
    peaks = {
        "API": peak_mib(stack.api_pid),
        "worker": peak_mib(stack.worker_pid),
        "verification": verified.peak_mib,
    }
    table = _table(invoices, off, changed, (first, second), peaks)
    table.add_row("derived again from raw events", _rate(verified.took_s))
    table.add_row("findings of that", f"{verified.findings}")
    console.print(table)
    console.print(f"All invoices: {out}")
    return int(off != 0 or changed != 0 or verified.findings != 0)


def import_events(stack: Stack, api: ApiClient, path: Path) -> Imported:
    """Import through the command that anybody would use, and wait for the worker."""
    environ = {**os.environ, "ABAXUS_URL": stack.url, "ABAXUS_API_KEY": stack.key}
    command = (sys.executable, "-m", "abaxus_core.cli", "events", "import", str(path))
    begun = time.monotonic()
    subprocess.run(command, env=environ, check=True)
    accepted_s = time.monotonic() - begun
    scenario.wait_until_metered(api)
    return Imported(accepted_s, time.monotonic() - begun)


def verify(stack: Stack) -> Verified:
    """Derive everything again, by the command that anybody would use."""
    environ = {**os.environ, **stack.database}
    command = (sys.executable, "-m", "abaxus_core.cli", "verify", "--all", "--json")
    begun = time.monotonic()
    peak = None
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            peak = peak_mib(process.pid) or peak
            time.sleep(POLL_S)
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
    return Verified(time.monotonic() - begun, len(report["findings"]), peak)


def all_invoices(api: ApiClient) -> list[Invoice]:
    """Every invoice, whole, in the order of their numbers."""
    listed = sorted(api.pages("/v1/invoices"), key=lambda invoice: invoice["number"])
    return [api.get(f"/v1/invoices/{invoice['id']}") for invoice in listed]


def last_day(month: str) -> str:
    """The cutoff that bills a month: its last day. None of ours is a leap February."""
    days = {"02": 28, "04": 30, "06": 30, "09": 30, "11": 30}
    return f"{month}-{days.get(month[5:], 31)}"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def peak_mib(pid: int) -> int | None:
    """The most memory the process has held, where the system says and it still lives."""
    status = Path(f"/proc/{pid}/status")
    with suppress(OSError):
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) // 1024
    return None


def _table(
    invoices: list[Invoice],
    off: int,
    changed: int,
    imports: tuple[Imported, Imported],
    peaks: dict[str, int | None],
) -> Table:
    first, second = imports
    total = sum(invoice["total_amount"] for invoice in invoices)
    table = Table("what", "figure", show_header=False)
    table.add_row("invoices", f"{len(invoices):,}")
    table.add_row("total of all invoices", f"{total // 100:,}.{total % 100:02} usd")
    table.add_row("difference to the re-rating by duckdb", f"{off} cents")
    table.add_row("difference after the second import", f"{changed} cents or invoices")
    table.add_row("events accepted, first import", _rate(first.accepted_s))
    table.add_row("events metered, first import", _rate(first.metered_s))
    table.add_row("events known again, second import", _rate(second.accepted_s))
    for process, mib in peaks.items():
        told = "not measured on this system" if mib is None else f"{mib} MiB of {MEMORY_MIB_MAX}"
        table.add_row(f"peak memory of the {process}", told)
    return table


def _rate(seconds: float) -> str:
    return f"{EVENTS:,} in {seconds:.1f} s: {EVENTS / seconds:,.0f}/s"


if __name__ == "__main__":
    main()
