"""An API or worker process that charges through fakes, in a fast time, and dies where told.

All else is the product's own, put together as app.py does.

Variables beside the product's: FAKES, JSON, host → address; TIME, the JSON of a FastClock; DIES_AT,
one of POINTS; FRESH_KEYS=1, the fault that the idempotency keys are there against.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import uuid4

import httpx
import msgspec

from abaxus_core import app, processes
from abaxus_core.app import App
from abaxus_core.kernel import log
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import Connection, Database, open_databases
from abaxus_core.kernel.lifecycle import Service, run_services
from abaxus_core.kernel.plugin_manager import HttpFactory
from abaxus_core.kernel.queue_worker import QueueWorker, WorkerSettings
from abaxus_core.services import plugins
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import Context
from abaxus_core.worker import handlers
from tests.support.providers import redirected

POINTS: Final = ("before_send", "after_answer", "after_t3")
PATIENCE_S: Final = 2
WORKER: Final = WorkerSettings(
    concurrency=4,
    lease=timedelta(minutes=2),
    poll=timedelta(seconds=0.1),
    upkeep=timedelta(seconds=0.1),
)

T = TypeVar("T")


class FastClock(msgspec.Struct, frozen=True, kw_only=True):
    """A clock that has run `speed` times as fast as the world's since `since`, and is `ahead`.

    The same in every process that has the same three.
    """

    since: datetime
    speed: int = 1
    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return self.since + self.ahead + (system_clock() - self.since) * self.speed


class Death:
    """Kills this process at its point, and at no other."""

    def __init__(self, point: str | None) -> None:
        assert point is None or point in POINTS, f"there is no point {point}"
        self.point = point
        self.answered = False

    def at(self, point: str) -> None:
        if point == self.point:
            os.kill(os.getpid(), signal.SIGKILL)


class _Mortal(Database):
    """Dies with the commit of what follows an answer."""

    def __init__(self, database: Database, death: Death) -> None:
        vars(self).update(vars(database))
        self._death = death

    async def transaction(
        self, work: Callable[[Connection], Awaitable[T]], *, isolation: str = "read_committed"
    ) -> T:
        result = await super().transaction(work, isolation=isolation)
        if self._death.answered:
            self._death.at("after_t3")
        return result


async def serve_api(environ: Mapping[str, str]) -> None:
    async with _opened(environ) as opened:
        await run_services(processes.api_services(opened), asyncio.Event(), drain_timeout_s=1)


async def run_worker(environ: Mapping[str, str]) -> None:
    async with _opened(environ) as opened:
        services = [_jobs(opened.contexts["live"])]
        await run_services(services, asyncio.Event(), drain_timeout_s=1)


@asynccontextmanager
async def _opened(environ: Mapping[str, str]) -> AsyncIterator[App]:
    settings, live, test = plugins.read(environ, app.TEST_MODE_PROVIDERS)
    log.configure(settings.log_level, settings.log_format)
    death = Death(environ.get("DIES_AT"))
    clock = msgspec.json.decode(environ["TIME"], type=FastClock)
    pool = app.pool_settings(settings, "test")
    async with (
        open_databases(settings.database_url.reveal(), pool) as databases,
        plugins.opened(live, http=_http(environ, death)) as providers,
        plugins.opened(test) as stand_ins,
    ):
        telemetry = Telemetry()
        mortal = _Mortal(databases.live, death)
        contexts = {
            "live": app.context_of(settings, mortal, providers, telemetry, clock),
            "test": app.context_of(settings, databases.test, stand_ins, telemetry, clock),
        }
        yield App(settings, databases, contexts, telemetry)


def _jobs(context: Context) -> Service:
    worker = QueueWorker(
        context.database,
        handlers.of(context),
        schedules=handlers.SCHEDULES,
        settings=WORKER,
        clock=context.clock,
    )
    return Service(name="jobs", run=worker.run)


def _http(environ: Mapping[str, str], death: Death) -> HttpFactory:
    addresses = msgspec.json.decode(environ["FAKES"], type=dict[str, str])
    inner = redirected(addresses, timeout_s=PATIENCE_S)

    async def leaves(request: httpx.Request) -> None:
        death.at("before_send")
        if environ.get("FRESH_KEYS") and "Idempotency-Key" in request.headers:
            request.headers["Idempotency-Key"] = str(uuid4())

    async def arrives(response: httpx.Response) -> None:
        await response.aread()
        death.at("after_answer")
        death.answered = True

    @asynccontextmanager
    async def open_client(hosts: frozenset[str]) -> AsyncIterator[httpx.AsyncClient]:
        async with inner(hosts) as client:
            client.event_hooks = {"request": [leaves], "response": [arrives]}
            yield client

    return open_client
