"""How the queue stands, for those who watch it."""

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("health")
_queue_depth = _sql.many("queue_depth")

KINDS_MAX = 500


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    state: str
    jobs: int


async def queue_depth(conn: Connection) -> list[QueueDepth]:
    """Jobs that wait, run or were given up, by kind and state."""
    return [
        QueueDepth(kind=row["kind"], state=row["state"], jobs=row["jobs"])
        for row in await _queue_depth(conn, KINDS_MAX)
    ]
