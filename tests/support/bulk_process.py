"""A worker that only invoices, to be killed: `python -m tests.support.bulk_process DSN CHUNK`."""

import asyncio
import sys

from abaxus_core.kernel import event_loop
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import open_databases
from abaxus_core.services import bulk_runs
from tests.support.books import working_on
from tests.support.collection import make_context
from tests.support.postgres import SETTINGS


async def main(dsn: str, chunk_size: int) -> None:
    bulk_runs.CHUNK_SIZE = chunk_size
    async with (
        open_databases(dsn, SETTINGS) as databases,
        working_on(make_context(databases.live, system_clock)),
    ):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    event_loop.run(main(sys.argv[1], int(sys.argv[2])))
