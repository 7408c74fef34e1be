"""Jobs drained and enqueued per second by our queue, a hand-written loop and other queues.

Each queue has a database of its own on one durable cluster, and in every round a fresh process that
enqueues, drains, and fails unless each job ran exactly once and none is left. What it leaves to
vacuum is vacuumed before the next begins, so that nobody pays for another. Rounds are interleaved
and a ratio is the median of the rounds' ratios: what else the machine does weighs on both alike.
"""

import asyncio
import contextlib
import importlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import asyncpg
import msgspec

from abaxus_core.kernel import embedded_postgres
from abaxus_core.kernel.embedded_postgres import Server
from benchmarks.report import Figure, at_least, interleaved, median_of, publish, shown

ROUNDS = 5
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
SINGLES = 2_000
BATCHED = 50_000
SNAPSHOT_JOBS = 30_000
INSTALL_TIMEOUT_S = 120
GRAPHILE_SCRIPT = Path(__file__).parent / "queues" / "graphile_worker.mjs"
GRAPHILE_PACKAGE = "graphile-worker@0.17"

OURS = "ours"
HAND_WRITTEN = "hand-written loop"
PROCRASTINATE = "procrastinate"
PGQUEUER = "pgqueuer"
GRAPHILE = "graphile-worker, batched"


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Its module in benchmarks.queues, the package it needs, jobs to warm up and to be timed on."""

    module: str
    needs: str
    warm_up: int
    jobs: int


QUEUES = {
    HAND_WRITTEN: Queue(module="hand_written", needs="asyncpg", warm_up=10_000, jobs=100_000),
    OURS: Queue(module="ours", needs="asyncpg", warm_up=10_000, jobs=60_000),
    PGQUEUER: Queue(module="on_pgqueuer", needs="pgqueuer", warm_up=2_000, jobs=20_000),
    PROCRASTINATE: Queue(module="on_procrastinate", needs="procrastinate", warm_up=100, jobs=600),
}
GOALS = {HAND_WRITTEN: "0.6", PROCRASTINATE: "100", PGQUEUER: "3", GRAPHILE: "1.3"}
CLEAN = "ours, 30,000 jobs later"
UNDER_SNAPSHOT = "ours, 30,000 jobs later under an old snapshot"
ENQUEUES = {
    "enqueue, ours": ("ours_single", "ours", SINGLES),
    "enqueue, prepared INSERT": ("hand_written_single", "hand_written", SINGLES),
    "enqueue 1,000, ours": ("ours_batched", "ours", BATCHED),
    "enqueue 1,000, unnest": ("hand_written_batched", "hand_written", BATCHED),
}


@contextlib.contextmanager
def _cluster() -> Iterator[tuple[Server, Path]]:
    """A fresh durable server, and a folder to install graphile-worker in."""
    home = Path(tempfile.mkdtemp(prefix="abaxus-bench-"))
    home.chmod(0o755)
    try:
        with embedded_postgres.running(
            home / "postgres", profile=embedded_postgres.DURABLE, settings=SETTINGS
        ) as server:
            yield server, home / "node"
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _contenders(server: Server, node: Path) -> tuple[dict[str, Callable[[], int]], list[str]]:
    """What to measure in each round, and what is left out because it is not to be had."""
    contenders, missing = {}, []
    for name, queue in QUEUES.items():
        if find_spec(queue.needs) is None:
            missing.append(f"{name} is not installed (make bench does it)")
            continue
        dsn = _create_database(server, queue.module)
        asyncio.run(importlib.import_module(f"benchmarks.queues.{queue.module}").install(dsn))
        contenders[name] = partial(_drain, queue, dsn, queue.warm_up, queue.jobs)
    if (reason := _install_graphile(node)) is None:
        dsn = _create_database(server, "graphile")
        contenders[GRAPHILE] = partial(
            _rate, dsn, ["node", str(node / GRAPHILE_SCRIPT.name), dsn, "10000", "40000"]
        )
    else:
        missing.append(f"{GRAPHILE}: {reason}")
    ours = server.dsn("ours")
    contenders[CLEAN] = partial(_drain, QUEUES[OURS], ours, SNAPSHOT_JOBS, SNAPSHOT_JOBS)
    contenders[UNDER_SNAPSHOT] = partial(_drain_under_snapshot, ours)
    for name, (enqueueing, database, jobs) in ENQUEUES.items():
        contenders[name] = partial(_enqueue, enqueueing, server.dsn(database), jobs)
    return contenders, missing


def _create_database(server: Server, name: str) -> str:
    asyncio.run(_execute(server.dsn(), f'CREATE DATABASE "{name}"'))
    return server.dsn(name)


def _install_graphile(node: Path) -> str | None:
    """Why graphile-worker cannot be had, None where it now is in `node`."""
    if shutil.which("npm") is None:
        return "npm is not installed"
    node.mkdir()
    (node / "package.json").write_text("{}")
    shutil.copy(GRAPHILE_SCRIPT, node)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", GRAPHILE_PACKAGE]
    try:
        subprocess.run(
            command, cwd=node, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return f"npm cannot get {GRAPHILE_PACKAGE}"
    return None


def _drain(queue: Queue, dsn: str, warm_up: int, jobs: int) -> int:
    module = f"benchmarks.queues.{queue.module}"
    return _rate(dsn, [sys.executable, "-m", module, dsn, str(warm_up), str(jobs)])


def _drain_under_snapshot(dsn: str) -> int:
    """As `_drain`, while an idle transaction keeps every dead row of these jobs from vacuum."""

    async def hold_and_drain() -> int:
        holder = await asyncpg.connect(dsn)
        async with holder.transaction(isolation="repeatable_read", readonly=True):
            await holder.fetchval("SELECT count(*) FROM pg_class")
            rate = await asyncio.to_thread(_drain, QUEUES[OURS], dsn, SNAPSHOT_JOBS, SNAPSHOT_JOBS)
        await holder.close()
        return rate

    return asyncio.run(hold_and_drain())


def _enqueue(name: str, dsn: str, jobs: int) -> int:
    module = "benchmarks.queues.enqueueing"
    return _rate(dsn, [sys.executable, "-m", module, name, dsn, str(jobs)])


def _rate(dsn: str, command: list[str]) -> int:
    """What the process prints: jobs per second."""
    asyncio.run(_execute(dsn, "VACUUM"))
    asyncio.run(_execute(dsn, "CHECKPOINT"))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return int(done.stdout)


async def _execute(dsn: str, statement: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(statement)
    await conn.close()


def _figures(rates: Mapping[str, list[int]]) -> list[Figure]:
    figures = [shown(f"{name}, jobs per second", median_of(each)) for name, each in rates.items()]
    for name, goal in GOALS.items():
        if name in rates:
            figures.append(_ratio(f"drain over {name}", rates[OURS], rates[name], goal))
    return [
        *figures,
        _ratio(
            "drain under an old snapshot over without", rates[UNDER_SNAPSHOT], rates[CLEAN], "0.8"
        ),
        _ratio(
            "enqueue over prepared INSERT",
            rates["enqueue, ours"],
            rates["enqueue, prepared INSERT"],
            "0.90",
        ),
        _ratio(
            "enqueue 1,000 over unnest",
            rates["enqueue 1,000, ours"],
            rates["enqueue 1,000, unnest"],
            "0.85",
        ),
    ]


def _ratio(name: str, ours: list[int], theirs: list[int], goal: str) -> Figure:
    pairs = zip(ours, theirs, strict=True)
    return at_least(name, median([Decimal(our) / their for our, their in pairs]), goal)


def main() -> None:
    with _cluster() as (server, node):
        contenders, missing = _contenders(server, node)
        rates = interleaved(contenders, ROUNDS)
    title = "queue: no-op jobs of 50 bytes, one worker process"
    publish("\n".join([title, *(f"left out: {each}" for each in missing)]), _figures(rates))


if __name__ == "__main__":
    main()
