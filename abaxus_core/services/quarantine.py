"""The quarantine: accepted events that could not land are looked at, and landed after all.

A retry lands a row where it is, without another turn in the inbox: it keeps its number and the
instant of its acceptance, so that of two events of one instant still the one accepted last counts;
an old row in the inbox would look like a backlog, and callers would be sent away for it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.kernel.ids import Ids
from abaxus_core.repositories import quarantine
from abaxus_core.repositories.quarantine import SetAside
from abaxus_core.services import audit
from abaxus_core.services.landing import Landed, Lander
from abaxus_core.services.work import SYSTEM, Work

PAGE_MAX: Final = 500


async def everything(database: Database) -> AsyncIterator[SetAside]:
    """All that is set aside, oldest first, in pages of PAGE_MAX; each row once."""
    after_id = 0
    while True:
        async with database.connection() as conn:
            page = await quarantine.page(conn, after_id=after_id, rows_max=PAGE_MAX)
        for row in page:
            yield row
        if len(page) < PAGE_MAX:
            break
        after_id = page[-1].inbox_id


async def retry(
    database: Database, clock: Clock, ids: Ids, inbox_ids: Iterable[int]
) -> AsyncIterator[tuple[int, Landed]]:
    """Land these rows, each in a transaction of its own, and say what became of each.

    A row that still cannot land stays, with the error of this time; of one that is not there (any
    more) no row is landed. Events whose keys were stored meanwhile are known, and a payload other
    than the first is recorded as a conflict.
    """
    lander = Lander(database, clock)
    for inbox_id in inbox_ids:
        yield inbox_id, await lander.transaction(_landing(lander, clock, ids, inbox_id))


def _landing(
    lander: Lander, clock: Clock, ids: Ids, inbox_id: int
) -> Callable[[Connection], Awaitable[Landed]]:
    async def step(conn: Connection) -> Landed:
        row = await quarantine.take(conn, inbox_id)
        if row is None:
            return Landed()
        landed = await lander.land_or_set_aside(conn, [row])
        if landed.quarantined_count == 0:
            await audit.record(
                Work(conn, clock(), ids, SYSTEM),
                action="quarantine.landed",
                object_type="quarantine",
                object_id=str(inbox_id),
                data={"events": landed.event_count, "stored": landed.stored_count},
            )
        return landed

    return step
