"""What any worker does for all: take over lapsed leases, tick schedules, purge what is finished."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.queue import Schedule
from abaxus_core.kernel.sql import queries

_sql = queries("queue")
_take_over = _sql.exec("take_over")
_tick = _sql.exec("tick")
_purge = _sql.exec("purge")

TAKE_OVER_MAX = 1_000
PURGE_MAX = 1_000
FINISHED_KEPT = timedelta(days=30)


async def keep_up(conn: Connection, schedules: Sequence[Schedule[Any]], clock: Clock | None) -> int:
    """How many jobs became due by it. Bounded by TAKE_OVER_MAX and PURGE_MAX rows each."""
    now = clock() if clock is not None else None
    await _purge(conn, FINISHED_KEPT, PURGE_MAX, now)
    made_due = await _take_over(conn, TAKE_OVER_MAX, now)
    if schedules:
        made_due += await _tick(
            conn,
            [schedule.name for schedule in schedules],
            [schedule.every for schedule in schedules],
            [schedule.kind.name for schedule in schedules],
            [msgspec.json.encode(schedule.payload).decode() for schedule in schedules],
            [schedule.kind.priority for schedule in schedules],
            [schedule.kind.attempts_max for schedule in schedules],
            now,
        )
    return made_due
