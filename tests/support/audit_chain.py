"""An audit log to seal, and what verifying its chain finds."""

from datetime import datetime

from abaxus_core.domain.findings import Finding
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.kernel.ids import Ids
from abaxus_core.repositories import audit
from abaxus_core.services.verification import audit_chain
from tests.support.metering import T0, fetch


async def write_entries(database: Database, count: int = 1, *, at: datetime = T0) -> None:
    """So many entries of one action, in one transaction."""

    async def step(conn: Connection) -> None:
        await append_entries(conn, count, at=at)

    await database.transaction(step)


async def append_entries(conn: Connection, count: int = 1, *, at: datetime = T0) -> None:
    ids = Ids(lambda: at)
    act = audit.Act(at=at, actor="key_1", action="invoice.issued", object_type="invoice")
    entries = [(ids.new("aud"), f"inv_{number}", {"total": number}) for number in range(count)]
    await audit.append_many(conn, act, entries)


async def found_in(database: Database) -> list[Finding]:
    """Every finding of the chain."""
    async with database.connection() as conn:
        return [finding async for finding in audit_chain.findings(conn)]


async def seals(database: Database) -> list[list[int]]:
    """The numbers that each seal covers, in the chain's order."""
    rows = await fetch(database, "SELECT audit_nos FROM audit_seals ORDER BY seal_no")
    return [list(audit_nos) for (audit_nos,) in rows]


async def waiting(database: Database) -> list[int]:
    """The numbers that wait for a seal, in order."""
    rows = await fetch(database, "SELECT audit_no FROM audit_unsealed ORDER BY audit_no")
    return [int(str(audit_no)) for (audit_no,) in rows]
