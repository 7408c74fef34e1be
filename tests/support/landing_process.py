"""A worker that only lands, to be killed: `python -m tests.support.landing_process DSN`."""

import asyncio
import sys

from abaxus_core.kernel import event_loop
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import open_databases
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.worker import landing
from tests.support.postgres import SETTINGS


async def main(dsn: str) -> None:
    async with open_databases(dsn, SETTINGS) as databases:
        print("ready", flush=True)
        await landing.run(databases.live, system_clock, Telemetry(), asyncio.Event())


if __name__ == "__main__":
    event_loop.run(main(sys.argv[1]))
