"""`abaxus dev --demo`: bill the demo on a running stack, print it, and keep serving."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from abaxus_core import dev
from abaxus_core.demo import catalogue, flights, report, scenario
from abaxus_core.demo.client import ApiClient
from abaxus_core.dev import Stack
from abaxus_core.importer.command import import_with_progress
from abaxus_core.kernel.lifecycle import stop_on_signals


async def serve(data_dir: Path, *, port: int, with_demo: bool) -> None:
    """Run the stack on the data in `data_dir` until told to stop."""
    console = Console()
    async with stop_on_signals() as stop, dev.stack(data_dir, port=port) as stack:
        if with_demo:
            await _until_stopped(asyncio.to_thread(bill, console, stack), stop)
        if not stop.is_set():
            report.how_to_go_on(console, url=stack.url, key=stack.key)
            console.print("Serving until Ctrl-C")
        await stop.wait()
        console.print("Stopping")


def bill(console: Console, stack: Stack) -> None:
    """Load and invoice the month, collect and mail one invoice: whatever is still to do."""
    with ApiClient(stack.url, stack.key) as api:
        scenario.set_up(api)
        if not scenario.is_billed(api):
            load_january(stack)
            scenario.wait_until_metered(api)
        report.usage(console, {each: scenario.usage(api, each) for each in catalogue.AIRLINES})
        report.run(console, scenario.bill(api))
        invoice = scenario.largest_invoice(api)
        report.invoice(console, invoice)
        if invoice["status"] == "issued":
            invoice = scenario.charge(api, invoice)
            scenario.send(api, invoice)
        report.collected(console, invoice)
        report.verified(console, invoice, scenario.verify(api, invoice))
        report.mailed(console, scenario.mails(stack.outbox_dir))


def load_january(stack: Stack) -> None:
    """Import the month's events, with a progress bar, from a file that stays to be looked at."""
    path = stack.data_dir / "flights-2013-01.ndjson"
    events = flights.events_of(flights.january())
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    import_with_progress(path, url=stack.url, key=stack.key)


async def _until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Await the work; when told to stop first, leave it to fail as the stack goes down."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if working in done:
        working.result()
    else:
        working.cancel()
