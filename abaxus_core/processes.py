"""The two kinds of process: what serves the API, and what works behind it.

Both are told to stop by SIGTERM or SIGINT, take nothing new from then on and drain.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from abaxus_core import app
from abaxus_core.app import App
from abaxus_core.http.app import build
from abaxus_core.http.endpoint import Endpoint
from abaxus_core.http.routes import ENDPOINTS
from abaxus_core.http.server import serve
from abaxus_core.kernel import config, log
from abaxus_core.kernel.lifecycle import Service, run_services, stop_on_signals
from abaxus_core.kernel.queue_worker import QueueWorker, WorkerSettings
from abaxus_core.services.work import Context
from abaxus_core.worker import handlers, landing

EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 - a container is reached from outside it
DRAIN_TIMEOUT_S = 4

ServicesOf: TypeAlias = Callable[[App], list[Service]]


async def serve_api(environ: Mapping[str, str]) -> None:
    """Serve the HTTP API until told to stop."""
    await _run(environ, "api", api_services)


async def run_worker(environ: Mapping[str, str]) -> None:
    """Land events and run jobs, of both modes, until told to stop."""
    await _run(environ, "worker", _worker_services)


async def _run(environ: Mapping[str, str], process: str, services_of: ServicesOf) -> None:
    settings = config.load(environ)
    log.configure(settings.log_level, settings.log_format)
    async with stop_on_signals() as stop, app.opened(environ, process=process) as opened:
        await run_services(services_of(opened), stop, drain_timeout_s=DRAIN_TIMEOUT_S)


def api_services(opened: App) -> list[Service]:
    """What an API process runs."""
    return [_server(opened, opened.settings.port)]


def _worker_services(opened: App) -> list[Service]:
    services = [
        service
        for context in opened.contexts.values()
        for service in (_lander(context), _jobs(context))
    ]
    if opened.settings.worker_port:
        services.append(_server(opened, opened.settings.worker_port, resources=()))
    return services


def _server(opened: App, port: int, *, resources: Sequence[Endpoint] = ENDPOINTS) -> Service:
    application = build(opened.contexts, opened.settings, opened.telemetry, resources=resources)

    async def run(stop: asyncio.Event) -> None:
        await serve(
            application,
            server=opened.settings.asgi_server,
            host=EVERY_INTERFACE,
            port=port,
            stop=stop,
        )

    return Service(name="http", run=run)


def _lander(context: Context) -> Service:
    async def run(stop: asyncio.Event) -> None:
        await landing.run(context.database, context.clock, context.telemetry, stop)

    return Service(name=f"landing-{context.mode}", run=run)


def _jobs(context: Context) -> Service:
    worker = QueueWorker(
        context.database,
        handlers.of(context),
        schedules=handlers.SCHEDULES,
        settings=WorkerSettings(concurrency=context.settings.worker_concurrency),
    )
    return Service(name=f"jobs-{context.mode}", run=worker.run)
