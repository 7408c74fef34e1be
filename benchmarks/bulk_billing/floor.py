"""The floor: the bare aggregation in one statement, then one awaited INSERT for each line.

One connection, the statement prepared, a commit for as many invoices as a chunk of ours has. No
plan, no rating, nothing that was billed before: the sums stand for the amounts.
"""

import asyncio
import time
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any

from abaxus_core.services.bulk_runs import CHUNK_SIZE
from benchmarks.bulk_billing import statements as sql
from benchmarks.bulk_billing.bulk import Ran
from benchmarks.bulk_billing.installation import METRICS, MONTH, Cluster, connect

LINES_A_COMMIT = CHUNK_SIZE * METRICS


def run(cluster: Cluster, dsn: str) -> Ran:
    """Aggregate everybody's month and insert its lines; fail unless all of it is there."""
    return asyncio.run(_measured(cluster, dsn))


async def _measured(cluster: Cluster, dsn: str) -> Ran:
    conn = await connect(dsn)
    await conn.execute(sql.FLOOR_TABLE)
    insert = await conn.prepare(sql.FLOOR_LINE)
    python_ns, database_us = time.process_time_ns(), cluster.cpu_us()
    started_ns = perf_counter_ns()
    used = await conn.fetch(sql.FLOOR_USAGE, *MONTH)
    for at in range(0, len(used), LINES_A_COMMIT):
        await _insert(conn, insert, used[at : at + LINES_A_COMMIT])
    ran = Ran(
        took_ns=perf_counter_ns() - started_ns,
        python_us=(time.process_time_ns() - python_ns) // 1_000,
        database_us=cluster.cpu_us() - database_us,
    )
    found = tuple(await conn.fetchrow(sql.FLOOR_BOOKS))
    assert found == (len(used), sum(row["value"] for row in used)), found
    await conn.close()
    return ran


async def _insert(conn: Any, insert: Any, rows: Sequence[Any]) -> None:
    async with conn.transaction():
        for row in rows:
            customer_no, metric_no = row["customer_no"], row["metric_no"]
            await insert.fetch(
                f"inv_{customer_no}",
                metric_no,
                f"m{metric_no}",
                f"chg_{metric_no}",
                f"sub_{customer_no:06}",
                *MONTH,
                row["value"],
                row["value"] * 100,
                row["event_count"],
                row["digest"],
            )
