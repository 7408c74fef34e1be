"""`abaxus dev --demo`: bill the demo on a running stack, print it, and keep serving."""

import asyncio
from pathlib import Path

from rich.console import Console

from abaxus_core import dev
from abaxus_core.demo import catalogue, flights, report, scenario
from abaxus_core.demo.client import ApiClient
from abaxus_core.dev import Stack
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
    """Load the month if it is not there yet, invoice it, and collect and mail one invoice."""
    with ApiClient(stack.url, stack.key) as api:
        scenario.set_up(api)
        flights.load(console, url=stack.url, key=stack.key)
        scenario.wait_until_metered(api)
        report.usage(console, {each: scenario.usage(api, each) for each in catalogue.AIRLINES})
        report.run(console, scenario.bill(api))
        invoice = scenario.largest_invoice(api)
        report.invoice(console, invoice)
        report.collected(console, scenario.charge(api, invoice))
        scenario.send(api, invoice)
        report.mailed(console, scenario.wait_for_mail(stack.outbox_dir))
