"""Our GET and POST against bare Starlette routes of equal size, on the same hypercorn server.

Ours do all that a caller of ABAXUS gets: key, scope, rate limit, exact decoding, request id, log
line, statistics. Bare ones decode and encode the same bytes with msgspec. Neither asks the
database; what a read from it costs, and a write with its audit entry, is shown beside.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec

from abaxus_core.kernel import embedded_postgres
from benchmarks import http_load
from benchmarks.http_load import SECOND_NS, Load
from benchmarks.report import at_least, interleaved, median_of, publish, shown

RUN_NS = 2 * SECOND_NS
NS_PER_MS = 1_000_000
READY_ATTEMPTS_MAX = 500
BODY = msgspec.json.encode(
    {
        "customer_id": "acme",
        "metric_key": "api_calls",
        "value": 1374923,
        "timestamp": "2026-04-30T12:00:00Z",
    }
)
METRIC = msgspec.json.encode({"key": "api_calls", "aggregation": "sum"})
GET_GOAL = "0.80"
POST_GOAL = "0.75"


@contextlib.contextmanager
def _listening() -> Iterator[tuple[int, str]]:
    """A server on a fresh cluster: its port and a key."""
    with contextlib.ExitStack() as opened:
        home = Path(tempfile.mkdtemp(prefix="abaxus-bench-"))
        opened.callback(shutil.rmtree, home, ignore_errors=True)
        home.chmod(0o755)
        postgres = opened.enter_context(
            embedded_postgres.running(home / "postgres", profile=embedded_postgres.DURABLE)
        )
        port = _free_port()
        lines = opened.enter_context((home / "api.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.http_server", postgres.dsn(), str(port)],
            stdout=subprocess.PIPE,
            stderr=lines,
        )
        opened.callback(process.wait)
        opened.callback(process.terminate)
        assert process.stdout is not None
        key = process.stdout.readline().decode().strip()
        assert key, (home / "api.log").read_text()
        _wait_until_ready(port)
        yield port, key


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(port: int) -> None:
    for _ in range(READY_ATTEMPTS_MAX):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise TimeoutError("the server does not listen")


def _requests(key: str) -> dict[str, bytes]:
    make = http_load.request
    change = msgspec.json.encode({"name": "API calls"})
    return {
        "bare GET": make("GET", "/bare"),
        "our GET": make("GET", "/v1/same", key=key),
        "bare POST": make("POST", "/bare", body=BODY),
        "our POST": make("POST", "/v1/same", key=key, body=BODY),
        "GET of a metric": make("GET", "/v1/metrics/api_calls", key=key),
        "PATCH of a metric": make("PATCH", "/v1/metrics/api_calls", key=key, body=change),
    }


def _measured() -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {}
    with _listening() as (port, key):
        metric = http_load.request("POST", "/v1/metrics", key=key, body=METRIC)
        http_load.run(port, metric, status=b"201", for_ns=0, connections=1)

        def contender(name: str, request: bytes) -> int:
            load = http_load.run(port, request, status=b"200", for_ns=RUN_NS)
            loads.setdefault(name, []).append(load)
            return load.rate

        interleaved({n: partial(contender, n, request) for n, request in _requests(key).items()})
    return loads


def _median_ms(loads: list[Load], percent: int) -> Decimal:
    return median_of([load.percentile_ns(percent) for load in loads]) / NS_PER_MS


def main() -> None:
    loads = _measured()
    rates = {name: median_of([load.rate for load in each]) for name, each in loads.items()}
    publish(
        f"http: requests a second over {http_load.CONNECTIONS} connections",
        [
            *(shown(f"{name}, requests per second", rate) for name, rate in rates.items()),
            *(shown(f"{name}, p50 ms", _median_ms(each, 50)) for name, each in loads.items()),
            *(shown(f"{name}, p99 ms", _median_ms(each, 99)) for name, each in loads.items()),
            at_least("our GET over bare GET", rates["our GET"] / rates["bare GET"], GET_GOAL),
            at_least("our POST over bare POST", rates["our POST"] / rates["bare POST"], POST_GOAL),
        ],
    )


if __name__ == "__main__":
    main()
