"""A process that charges an invoice and hangs in its provider, to be killed there.

    python -m tests.fault.charging_process DSN INVOICE_ID LEDGER

Its provider moves money by appending a line to the file LEDGER, which outlives the process.
"""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from abaxus_core.kernel import event_loop
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import open_databases
from abaxus_core.plugin.payments import ChargeRequest, NotFound
from abaxus_core.services import charging
from tests.support.collection import ACTOR, Remembering, make_context
from tests.support.postgres import SETTINGS


class Ledger(Remembering):
    """Remembers charges in a file; `hang`: never answers."""

    def __init__(self, path: Path, *, hang: bool = False):
        super().__init__(ttl_s=0)
        self.path = path
        self.hang = hang

    async def charge(self, request, key, *, replay):
        asked = msgspec.json.decode(request.body, type=ChargeRequest)
        with self.path.open("a") as file:
            file.write(f"{asked.attempt_id}\n")
            file.flush()
            os.fsync(file.fileno())
        if self.hang:
            await asyncio.Event().wait()
        return self.outcome(asked)

    async def find(self, attempt_id, request, *, sent_from, sent_until):
        if str(attempt_id) not in self.path.read_text():
            return NotFound(conclusive=True)
        return self.outcome(msgspec.json.decode(request.body, type=ChargeRequest))


async def main(dsn: str, invoice_id: str, ledger: str) -> None:
    async with open_databases(dsn, SETTINGS) as databases:
        provider = Ledger(Path(ledger), hang=True)
        context = make_context(databases.live, system_clock, providers={"sandbox": provider})
        await charging.charge(context, ACTOR, invoice_id)


if __name__ == "__main__":
    event_loop.run(main(*sys.argv[1:]))
