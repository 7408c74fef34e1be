"""All that runs during the benchmark, and what each part of it uses of the machine.

A durable PostgreSQL with a year in it and a Valkey; an API process on every server, with the cache
and without; another one and a worker, for the feeder; the caller. Nothing is pinned to a core.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from http.client import HTTPConnection
from time import perf_counter_ns
from typing import Any, Final

import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families

from abaxus_core import app
from abaxus_core.kernel.embedded_postgres import Server
from benchmarks.entitlement_checks import bare, caller, feeder, installation, population, server
from benchmarks.entitlement_checks import statements as sql
from benchmarks.entitlement_checks.bare import Imitated
from benchmarks.entitlement_checks.caller import Report
from benchmarks.entitlement_checks.feeder import Fed
from benchmarks.entitlement_checks.installation import Shape
from benchmarks.entitlement_checks.processes import cpu_ns, python, started, valkey
from benchmarks.entitlement_checks.server import Calls, Times
from benchmarks.report import SECOND_NS
from benchmarks.servers import cpu_us, durable, free_port, wait_until_listening

SERVERS: Final = ("hypercorn", "uvicorn")
REDIS, POSTGRESQL = "Redis", "PostgreSQL"
AS_IT_COMES: Final = "as it comes"
MASTER_KEY: Final = "benchmark" * 4
SERVERS_OWN_HEADERS: Final = frozenset({"content-length", "date", "server"})
LANDED_WITHIN_NS: Final = 30 * SECOND_NS
POLL_S: Final = 0.05
WARM_AT_ONCE: Final = 8
ANSWERED_WITHIN_S: Final = 300
CACHE_READS: Final = "abaxus_entitlement_cache_reads_total"
KEPT: Final = "abaxus_entitlement_kept_total"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A run's report, and the CPU time that each part of the fleet used meanwhile, in ns.

    `answered_by`: how many checks the cache answered (`hit`), or what was `kept`.
    """

    report: Report
    cpu_ns: Mapping[str, int]
    answered_by: Mapping[str, int]

    def cpu_us_each(self, part: str) -> int:
        return self.cpu_ns[part] // 1_000 // self.report.asked


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """An API process that is measured; Starlette alone where its store is AS_IT_COMES."""

    server: str
    store: str
    port: int
    process: Any

    @property
    def name(self) -> str:
        return f"{self.server}, {self.store}"


class Fleet:
    """Made by `running`."""

    def __init__(self, postgres: Server, redis: psutil.Process, key: str, shape: Shape) -> None:
        self.apis: list[Api] = []
        self.baselines: list[Api] = []
        self._postgres = postgres
        self._redis = redis
        self._key = key
        self._shape = shape
        self._meanwhile: list[psutil.Process] = []
        self._runs = 0

    def start(self, stack: ExitStack, environ: Mapping[str, str], redis_url: str) -> None:
        cached = {**environ, "REDIS_URL": redis_url}
        for name in SERVERS:
            for store, settings in ((REDIS, cached), (POSTGRESQL, environ)):
                self._start_api(stack, name, store, settings)
            self._start_baseline(stack, name)
        port = free_port()
        environ = {**cached, "PORT": str(port), "LOG_LEVEL": "warning"}
        for command in ("api", "worker"):
            process = started(stack, python("abaxus_core.cli", command), environ)
            self._meanwhile.append(psutil.Process(process.pid))
        wait_until_listening(port)
        self._warm_up()
        self._caller = started(stack, python(caller.__name__), environ, heard=True)
        order = feeder.Order(port=port, key=self._key, customers=self._shape.customers)
        encoded = msgspec.json.encode(order).decode()
        self._feeder = started(stack, python(feeder.__name__, encoded), environ, heard=True)
        self._meanwhile.append(psutil.Process(self._feeder.pid))
        for child in (self._caller, self._feeder):
            assert child.stdout.readline() == "ready\n", "the child did not get ready"
        self._since_ns, self._before = perf_counter_ns(), self._everything()

    def _warm_up(self) -> None:
        """Let every process meet its customers, as it has after a day of work."""
        calls = msgspec.json.encode(Calls(at_once=WARM_AT_ONCE, customers=self._shape.customers))
        with ThreadPoolExecutor(len(self.apis)) as pool:
            list(pool.map(lambda api: self._ask(api, "POST", server.EVERYBODY, calls), self.apis))

    def _start_api(
        self, stack: ExitStack, name: str, store: str, environ: Mapping[str, str]
    ) -> None:
        port = free_port()
        environ = {**environ, "ASGI_SERVER": name, "PORT": str(port)}
        process = started(stack, python(server.__name__), environ)
        api = Api(server=name, store=store, port=port, process=psutil.Process(process.pid))
        wait_until_listening(port)
        self._imitate(api, api)
        self.apis.append(api)

    def _start_baseline(self, stack: ExitStack, name: str) -> None:
        port = free_port()
        process = started(stack, python(bare.__name__, name, str(port)), os.environ)
        process = psutil.Process(process.pid)
        api = Api(server=name, store=AS_IT_COMES, port=port, process=process)
        wait_until_listening(port)
        self._imitate(self.apis[-1], api)
        self.baselines.append(api)

    def _imitate(self, api: Api, imitator: Api) -> None:
        """Let the bare route of `imitator` answer as ours has just answered."""
        query = f"customer_id={population.customer_id(1)}&feature_key={population.FEATURES[0]}"
        headers, body = self._ask(api, "GET", f"{server.CHECK}?{query}")
        kept = {name: value for name, value in headers.items() if name not in SERVERS_OWN_HEADERS}
        imitated = msgspec.json.encode(Imitated(headers=kept, body=body.decode()))
        self._ask(imitator, "POST", bare.TO_BE_BARE, imitated)
        bare_headers, bare_body = self._ask(imitator, "GET", f"{bare.BARE}?{query}")
        given = bare_headers.keys() - SERVERS_OWN_HEADERS, bare_body
        assert given == (headers.keys() - SERVERS_OWN_HEADERS, body), bare_headers

    def _ask(
        self, api: Api, method: str, path: str, body: bytes | None = None
    ) -> tuple[dict[str, str], bytes]:
        conn = HTTPConnection("127.0.0.1", api.port, timeout=ANSWERED_WITHIN_S)
        conn.request(method, path, body, {"authorization": f"Bearer {self._key}"})
        given = conn.getresponse()
        headers, answer = {name.lower(): value for name, value in given.getheaders()}, given.read()
        conn.close()
        assert given.status == 200, (path, given.status, answer)
        return headers, answer

    def load(
        self,
        api: Api,
        path: str,
        *,
        customers: int,
        connections: int,
        for_ns: int,
        rate: int | None = None,
    ) -> Measured:
        """A closed loop, or an open one of `rate` requests a second, for some customers."""
        self._runs += 1
        order = caller.Order(
            port=api.port,
            path=path,
            key=self._key,
            customers=customers,
            connections=connections,
            for_ns=for_ns,
            rate=rate,
            seed=self._runs,
        )
        answered, before = self._answered_by(api), self._used(api)
        self._caller.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self._caller.stdin.flush()
        line = self._caller.stdout.readline()
        assert line, "the caller has failed"
        report = msgspec.json.decode(line, type=Report)
        used = {part: ns - before[part] for part, ns in self._used(api).items()}
        return Measured(
            report=report,
            cpu_ns={**used, "client": report.cpu_ns},
            answered_by=self._answered_by(api) - answered,
        )

    def times(self, api: Api) -> Times:
        """What the clock of the process has measured since it was last read."""
        return msgspec.json.decode(self._ask(api, "GET", server.TIMES)[1], type=Times)

    def call(self, api: Api, calls: Calls) -> None:
        """Let the process call its own handler."""
        self._ask(api, "POST", server.CALLS, msgspec.json.encode(calls))

    def _answered_by(self, api: Api) -> Counter[str]:
        if api.store == AS_IT_COMES:
            return Counter()
        exposition = self._ask(api, "GET", "/metrics")[1].decode()
        return Counter(
            {
                sample.labels.get("outcome", "kept"): int(sample.value)
                for family in text_string_to_metric_families(exposition)
                for sample in family.samples
                if sample.name in {CACHE_READS, KEPT}
            }
        )

    def cores(self) -> dict[str, Decimal]:
        """How many cores each had on average since the start; others are none of ours."""
        took_ns = perf_counter_ns() - self._since_ns
        used = {who: ns - self._before[who] for who, ns in self._everything().items()}
        used["others"] = used.pop("all") - sum(used.values())
        return {who: Decimal(ns) / took_ns for who, ns in used.items()}

    def _everything(self) -> dict[str, int]:
        """CPU time until now, in ns."""
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
        return {
            "all": round(busy * SECOND_NS),
            "the measured servers": sum(
                cpu_ns(each.process) for each in (*self.apis, *self.baselines)
            ),
            "the client": cpu_ns(psutil.Process(self._caller.pid)) + cpu_ns(psutil.Process()),
            **self._shared(),
        }

    def _used(self, api: Api) -> dict[str, int]:
        return {"server": cpu_ns(api.process), **self._shared()}

    def _shared(self) -> dict[str, int]:
        return {
            "PostgreSQL": cpu_us(self._postgres) * 1_000,
            "Redis": cpu_ns(self._redis),
            "the feed, its API and its worker": sum(map(cpu_ns, self._meanwhile)),
        }

    def stop_feeding(self) -> Fed:
        """What was fed; fails unless all of it has landed or is in force."""
        self._feeder.stdin.close()
        fed = msgspec.json.decode(self._feeder.stdout.read(), type=Fed)
        asyncio.run(_check_books(self._postgres.dsn(), fed))
        return fed


@contextmanager
def running(shape: Shape) -> Iterator[Fleet]:
    """A fresh fleet, fed; gone on the way out."""
    with ExitStack() as stack:
        postgres = stack.enter_context(durable(installation.SETTINGS))
        asyncio.run(installation.fill(postgres.dsn(), shape))
        redis_port = free_port()
        redis = started(stack, valkey(redis_port), {})
        wait_until_listening(redis_port)
        environ = {
            **os.environ,
            "DATABASE_URL": postgres.dsn(),
            "API_MASTER_KEY": MASTER_KEY,
            "API_RATE_LIMIT_RPM": "100000000",
        }
        key = asyncio.run(app.create_key(environ, name="benchmark", scopes=("admin",), mode="live"))
        fleet = Fleet(postgres, psutil.Process(redis.pid), key, shape)
        fleet.start(stack, environ, f"redis://127.0.0.1:{redis_port}/0")
        yield fleet


async def _check_books(dsn: str, fed: Fed) -> None:
    conn = await installation.connect(dsn)
    until_ns = perf_counter_ns() + LANDED_WITHIN_NS
    while await conn.fetchval(sql.WAITING):
        assert perf_counter_ns() < until_ns, "what was accepted must land"
        await asyncio.sleep(POLL_S)
    books = await conn.fetchrow(sql.BOOKS)
    await conn.close()
    assert (books["landed"], books["changes"]) == (fed.events, fed.changes), (books, fed)
