"""Snapshots from PostgreSQL."""

from collections.abc import Sequence

from abaxus_core.domain.entitlement_documents import Snapshot
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.services.entitlements.access import Asked
from abaxus_core.services.entitlements.exact import exact


class Stored:
    """Reads one mode's."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        async with self._database.connection() as conn:
            return [
                await exact(conn, one.customer_id, one.feature_keys, now=self._clock())
                for one in asked
            ]
