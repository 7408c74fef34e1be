"""A bulk run by real worker processes, from the start of the run to its end, and its books."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import msgspec
import psutil

from abaxus_core import app
from abaxus_core.services import bulk_runs
from abaxus_core.services.bulk_runs import NewRun
from abaxus_core.services.work import SYSTEM, Context, Work, perform
from benchmarks.bulk_billing import statements as sql
from benchmarks.bulk_billing.installation import METRICS, MONTH, Cluster, Shape, connect

POLL_MS: Final = 10
POLLS_MAX: Final = 60_000
MASTER_KEY: Final = "benchmark" * 4


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """How many worker processes, and how many jobs each runs at once; None: its default."""

    workers: int
    concurrency: int | None = None


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """`python_us`, `database_us`: CPU time. `peak_mib`: of the worker that had the most."""

    took_ns: int
    python_us: int
    database_us: int
    peak_mib: int = 0


def run(cluster: Cluster, dsn: str, shape: Shape, crew: Crew) -> Ran:
    """Invoice everybody's month, and fail unless each was invoiced once and to the cent."""
    environ = {
        **os.environ,
        "DATABASE_URL": dsn,
        "API_MASTER_KEY": MASTER_KEY,
        "LOG_LEVEL": "warning",
    }
    if crew.concurrency is not None:
        environ["WORKER_CONCURRENCY"] = str(crew.concurrency)
    with _workers(environ, crew.workers) as processes:
        return asyncio.run(_measured(cluster, environ, shape, processes))


@contextmanager
def _workers(environ: Mapping[str, str], count: int) -> Iterator[list[psutil.Process]]:
    command = [sys.executable, "-m", "abaxus_core.cli", "worker"]
    started = [
        subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) for _ in range(count)
    ]
    try:
        yield [psutil.Process(each.pid) for each in started]
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.wait()


async def _measured(
    cluster: Cluster, environ: Mapping[str, str], shape: Shape, processes: list[psutil.Process]
) -> Ran:
    conn = await connect(environ["DATABASE_URL"])
    await _until_ready(conn, len(processes))
    async with app.opened(environ, process="benchmark") as opened:
        python_us, database_us = _cpu_us(processes), cluster.cpu_us()
        started_ns = perf_counter_ns()
        report = await _run(opened.contexts["live"], conn)
        took_ns = perf_counter_ns() - started_ns
        ran = Ran(
            took_ns=took_ns,
            python_us=_cpu_us(processes) - python_us,
            database_us=cluster.cpu_us() - database_us,
            peak_mib=max(map(_peak_mib, processes)),
        )
    assert (report.run.status, report.run.created) == ("completed", shape.customers), report
    await _check(conn, shape)
    await conn.close()
    return ran


async def _until_ready(conn: Any, workers: int) -> None:
    """Until every worker listens and what its schedules ask for at first is done."""
    for _ in range(POLLS_MAX):
        if await conn.fetchval(sql.LISTENING) == workers and await conn.fetchval(sql.QUEUE_IDLE):
            return
        await asyncio.sleep(POLL_MS / 1000)
    raise AssertionError("the workers did not get ready")


async def _run(context: Context, conn: Any) -> bulk_runs.Report:
    async def start(work: Work) -> bulk_runs.Report:
        return await bulk_runs.start(work, NewRun(cutoff=MONTH[1]))

    started = await perform(context, SYSTEM, start)
    for _ in range(POLLS_MAX):
        if not await conn.fetchval(sql.UNDER_WAY, started.run.id):
            return await bulk_runs.get(conn, started.run.id)
        await asyncio.sleep(POLL_MS / 1000)
    raise AssertionError("the run did not end")


async def _check(conn: Any, shape: Shape) -> None:
    books = dict(await conn.fetchrow(sql.BOOKS, *MONTH))
    issued = shape.customers * (shape.months_before + 1)
    expected = {
        "invoices": shape.customers,
        "customers": shape.customers,
        "first_number": 1,
        "last_number": issued,
        "numbers": issued,
        "counter": issued,
        "lines": books["owed_lines"],
        "owed_lines": books["lines"],
        "total_minor": books["owed_minor"],
        "owed_minor": books["total_minor"],
        "lines_that_differ": 0,
        "totals_that_differ": 0,
        "audited": shape.customers,
    }
    assert books == expected, books
    assert books["lines"] > 0.99 * shape.customers * METRICS, books


def _cpu_us(processes: list[psutil.Process]) -> int:
    used = [process.cpu_times() for process in processes]
    return round(sum(one.user + one.system for one in used) * 1_000_000)


def _peak_mib(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) >> 10
