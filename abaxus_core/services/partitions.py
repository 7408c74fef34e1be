"""The months of events that have a partition: made before the first event of one is stored."""

from collections.abc import Iterable
from datetime import date

from abaxus_core.domain.instants import DAY_US, instant_of
from abaxus_core.kernel.database import Database
from abaxus_core.repositories import events


class Partitions:
    """Of one mode, for the life of the process; remembers which there are, not to ask again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._made: set[date] = set()

    def missing(self, occurred_us: Iterable[int]) -> frozenset[date]:
        """Return the UTC months (first days) of these instants that are not known to be there.

        Instants count in microseconds from PostgreSQL's epoch, see `instants.microseconds`.
        """
        days = {each // DAY_US for each in occurred_us}
        months = {instant_of(day * DAY_US).date().replace(day=1) for day in days}
        return frozenset(months - self._made)

    async def make(self, months: frozenset[date]) -> None:
        """Make them, in a transaction of its own: no DDL lock is held while events are stored."""
        if months:
            await self._database.transaction(lambda conn: events.ensure_partitions(conn, months))
            self._made |= months

    def forget(self) -> None:
        """Ask again: a month may have been dropped since it was made."""
        self._made.clear()
