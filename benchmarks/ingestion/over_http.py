"""Batches to a running API with a running worker, until the last event has landed.

The load comes from this process, on the same cores. Two batches in a hundred are sent twice.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import asyncpg
import msgspec
import psutil

from abaxus_core import app
from benchmarks import http_load
from benchmarks.ingestion import feed
from benchmarks.ingestion.child import SCHEMA
from benchmarks.ingestion.cluster import Bench
from benchmarks.servers import free_port, wait_until_listening

CONNECTIONS: Final = 4
SENT_TWICE_EVERY: Final = 50
POLL_MS: Final = 5
POLLS_MAX: Final = 60_000
MASTER_KEY: Final = "benchmark" * 4
EMPTY: Final = "SELECT NOT EXISTS (SELECT FROM event_inbox)"


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """`took_ns` from the first request to the last landing; peak memory of both processes."""

    count: int
    took_ns: int
    api_mib: int
    worker_mib: int


class _Answer(msgspec.Struct):
    accepted: int
    duplicates: int
    rejected: int


def run(bench: Bench, name: str, count: int) -> Landed:
    """Send that many events, some twice, and wait for them to land."""
    dsn = bench.dsn(name)
    port = free_port()
    environ = {
        **os.environ,
        "DATABASE_URL": dsn,
        "API_MASTER_KEY": MASTER_KEY,
        "API_RATE_LIMIT_RPM": "0",
        "LOG_LEVEL": "warning",
        "PORT": str(port),
    }
    key = asyncio.run(app.create_key(environ, name="benchmark", scopes=("ingest",), mode="live"))
    batches = list(feed.batches(feed.made(f"http {bench.next_run()}", count)))
    bodies = [
        feed.body(batch)
        for place, batch in enumerate(batches)
        for _ in range(2 if place % SENT_TWICE_EVERY == 0 else 1)
    ]
    requests = [
        http_load.request("POST", "/v1/events/batch", key=key, body=body) for body in bodies
    ]
    with _process("api", environ) as api, _process("worker", environ) as worker:
        wait_until_listening(port)
        took_ns, accepted = asyncio.run(_send(port, requests, dsn))
        landed = Landed(
            count=count, took_ns=took_ns, api_mib=_peak_mib(api), worker_mib=_peak_mib(worker)
        )
    assert accepted >= count, "every event is accepted once at least"
    bench.expect(name, count)
    return landed


@contextmanager
def _process(command: str, environ: dict[str, str]) -> Iterator[psutil.Process]:
    arguments = [sys.executable, "-m", "abaxus_core.cli", command]
    process = subprocess.Popen(arguments, env=environ, stdout=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


async def _send(port: int, requests: list[bytes], dsn: str) -> tuple[int, int]:
    waiting = iter(requests)
    conn = await asyncpg.connect(dsn, server_settings={"search_path": SCHEMA})
    since_ns = perf_counter_ns()
    accepted = await asyncio.gather(*(_caller(port, waiting) for _ in range(CONNECTIONS)))
    for _ in range(POLLS_MAX):
        if await conn.fetchval(EMPTY):
            break
        await asyncio.sleep(POLL_MS / 1000)
    took_ns = perf_counter_ns() - since_ns
    await conn.close()
    return took_ns, sum(accepted)


async def _caller(port: int, requests: Iterator[bytes]) -> int:
    """Send one request after the other; how many events were accepted as new."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    accepted = 0
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 207"), head
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        answer = msgspec.json.decode(await reader.readexactly(length), type=_Answer)
        assert answer.rejected == 0, answer
        accepted += answer.accepted
    writer.close()
    return accepted


def _peak_mib(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) >> 10
