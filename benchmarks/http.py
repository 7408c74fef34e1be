"""Our GET and POST against bare Starlette routes of equal size, on the same server: each of both.

Ours do all that a caller of ABAXUS gets: key, scope, rate limit, exact decoding, request id, log
line, statistics. Bare ones take the same requests, and decode and encode the same bytes with
msgspec. Neither asks the database; what a read from it costs, and a write with its audit entry, is
shown beside.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
import psutil

from abaxus_core.kernel import embedded_postgres
from abaxus_core.kernel.config import AsgiServer
from benchmarks import http_load
from benchmarks.http_load import SECOND_NS, Load
from benchmarks.report import Figure, at_least, interleaved, median_of, publish, shown
from benchmarks.servers import free_port, wait_until_listening

RUN_NS = SECOND_NS
ROUNDS = 9
NS_PER_MS = 1_000_000
BODY = msgspec.json.encode(
    {
        "customer_id": "acme",
        "metric_key": "api_calls",
        "value": 1374923,
        "timestamp": "2026-04-30T12:00:00Z",
    }
)
METRIC = msgspec.json.encode({"key": "api_calls", "aggregation": "sum"})
SERVERS: tuple[AsgiServer, ...] = ("hypercorn", "uvicorn")
GOALS = {"GET": "0.70", "POST": "0.60"}


@contextlib.contextmanager
def _listening(server: AsgiServer) -> Iterator[tuple[int, str, psutil.Process]]:
    """A server on a fresh cluster: its port, a key, its process."""
    with contextlib.ExitStack() as opened:
        home = Path(tempfile.mkdtemp(prefix="abaxus-bench-"))
        opened.callback(shutil.rmtree, home, ignore_errors=True)
        home.chmod(0o755)
        postgres = opened.enter_context(
            embedded_postgres.running(home / "postgres", profile=embedded_postgres.DURABLE)
        )
        port = free_port()
        lines = opened.enter_context((home / "api.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.http_server", server, postgres.dsn(), str(port)],
            stdout=subprocess.PIPE,
            stderr=lines,
        )
        opened.callback(process.wait)
        opened.callback(process.terminate)
        assert process.stdout is not None
        key = process.stdout.readline().decode().strip()
        assert key, (home / "api.log").read_text()
        wait_until_listening(port)
        yield port, key, psutil.Process(process.pid)


def _requests(key: str) -> dict[str, bytes]:
    make = http_load.request
    change = msgspec.json.encode({"name": "API calls"})
    return {
        "bare GET": make("GET", "/bare", key=key),
        "our GET": make("GET", "/v1/same", key=key),
        "bare POST": make("POST", "/bare", key=key, body=BODY),
        "our POST": make("POST", "/v1/same", key=key, body=BODY),
        "GET of a metric": make("GET", "/v1/metrics/api_calls", key=key),
        "PATCH of a metric": make("PATCH", "/v1/metrics/api_calls", key=key, body=change),
    }


def _measured(server: AsgiServer) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {}
    with _listening(server) as (port, key, process):
        metric = http_load.request("POST", "/v1/metrics", key=key, body=METRIC)
        http_load.run(port, metric, status=b"201", for_ns=0, connections=1)

        def contender(name: str, request: bytes) -> int:
            before_ns = _cpu_ns(process)
            load = http_load.run(port, request, status=b"200", for_ns=RUN_NS)
            load = msgspec.structs.replace(load, cpu_ns=_cpu_ns(process) - before_ns)
            loads.setdefault(name, []).append(load)
            return load.rate

        contenders = {name: partial(contender, name, each) for name, each in _requests(key).items()}
        interleaved(contenders, ROUNDS)
    return loads


def _cpu_ns(process: psutil.Process) -> int:
    times = process.cpu_times()
    return int((times.user + times.system) * SECOND_NS)


def _share(ours: list[Load], bare: list[Load]) -> Decimal:
    """Median of the rounds' ratios: what else the machine does weighs on both of a round alike."""
    pairs = zip(ours, bare, strict=True)
    return median([Decimal(our.rate) / other.rate for our, other in pairs])


def main() -> None:
    figures = [figure for server in SERVERS for figure in _figures(server, _measured(server))]
    publish(f"http: over {http_load.CONNECTIONS} connections", figures)


def _figures(server: AsgiServer, loads: dict[str, list[Load]]) -> list[Figure]:
    figures: list[Figure] = []
    for request, each in loads.items():
        name = f"{server}: {request}"
        figures += [
            shown(f"{name}, requests per second", median_of([load.rate for load in each])),
            shown(f"{name}, server CPU us", _median(each, lambda load: load.cpu_ns_each) / 1_000),
            shown(
                f"{name}, p50 ms", _median(each, lambda load: load.percentile_ns(50)) / NS_PER_MS
            ),
            shown(
                f"{name}, p99 ms", _median(each, lambda load: load.percentile_ns(99)) / NS_PER_MS
            ),
        ]
    for method, goal in GOALS.items():
        share = _share(loads[f"our {method}"], loads[f"bare {method}"])
        figures.append(at_least(f"{server}: our {method} over bare {method}", share, goal))
    return figures


def _median(loads: list[Load], of: Callable[[Load], int]) -> Decimal:
    return median_of([of(load) for load in loads])


if __name__ == "__main__":
    main()
