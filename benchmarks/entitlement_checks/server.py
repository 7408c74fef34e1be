"""The server side: an API process as it is, with a clock and bare Starlette routes beside it.

    /v1/entitlements/check          ours, untouched
    /timed/check, /timed/nothing    the same handler between two looks at the clock; one that waits
                                    for nothing but its next turn
    /bench/calls                    calls the timed handler, so many at once, without HTTP
    /bench/everybody                resolves each customer once
    /bench/times                    the clock's times since last asked
    /bare, /bench/bare              as bare.py has them

Only what is asked for runs. `python -m benchmarks.entitlement_checks.server`, settings from the
environment.
"""

import asyncio
import os
import random
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, takewhile
from time import perf_counter_ns
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from abaxus_core import app
from abaxus_core.app import App
from abaxus_core.errors import AbaxusError
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.app import build
from abaxus_core.http.endpoint import Call, Endpoint, Handler
from abaxus_core.http.routes import ENDPOINTS
from abaxus_core.http.server import serve
from abaxus_core.kernel import config, event_loop, log
from abaxus_core.kernel.lifecycle import stop_on_signals
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.services.work import Context
from benchmarks.entitlement_checks import bare, population

CHECK: Final = "/v1/entitlements/check"
RESOLVE: Final = "/v1/entitlements"
TIMED_CHECK: Final = "/timed/check"
TIMED_NOTHING: Final = "/timed/nothing"
CALLS: Final = "/bench/calls"
EVERYBODY: Final = "/bench/everybody"
TIMES: Final = "/bench/times"
TIMES_MAX: Final = 200_000
CALLS_DRAWN: Final = 10_000


class Times(msgspec.Struct, frozen=True, kw_only=True):
    count: int
    p50_ns: int
    p99_ns: int


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """How many at once, for which customers; `for_ns` 0: each customer once."""

    at_once: int
    customers: int
    for_ns: int = 0


class _Clock:
    """The last TIMES_MAX times."""

    def __init__(self) -> None:
        self._took_ns = array("q", bytes(8 * TIMES_MAX))
        self._count = 0

    def timed(self, handler: Handler) -> Handler:
        """The handler, from its entry to its answer."""

        async def timed(call: Call[Any, Any]) -> Answer:
            since_ns = perf_counter_ns()
            given = await handler(call)
            self._took_ns[self._count % TIMES_MAX] = perf_counter_ns() - since_ns
            self._count += 1
            return given

        return timed

    async def read(self, _request: Request) -> Response:
        """The times since the last reading."""
        took_ns = sorted(self._took_ns[: min(self._count, TIMES_MAX)])
        last = len(took_ns) - 1
        times = Times(
            count=self._count,
            p50_ns=took_ns[last * 50 // 100] if took_ns else 0,
            p99_ns=took_ns[last * 99 // 100] if took_ns else 0,
        )
        self._count = 0
        return Response(msgspec.json.encode(times))


class _Callers:
    """As many as are asked for, each of which calls a handler again when it has answered."""

    def __init__(self, context: Context, check: Endpoint, resolve: Endpoint, clock: _Clock) -> None:
        self._context = context
        self._check = check
        self._resolve = resolve
        self._timed_check = clock.timed(check.handler)

    async def check(self, request: Request) -> Response:
        """Checks as they are drawn, for some time."""
        asked = msgspec.json.decode(await request.body(), type=Calls)
        calls = [
            self._call(self._check, customer_id=customer_id, feature_key=feature_key)
            for customer_id, feature_key in _drawn(asked.customers)
        ]
        until_ns = perf_counter_ns() + asked.for_ns
        in_time = takewhile(lambda _: perf_counter_ns() < until_ns, cycle(calls))
        await _call_all(self._timed_check, in_time, asked.at_once)
        return Response(b"{}")

    async def resolve_everybody(self, request: Request) -> Response:
        """Each customer once, the one who is asked for most at the end."""
        asked = msgspec.json.decode(await request.body(), type=Calls)
        calls = (
            self._call(self._resolve, customer_id=population.customer_id(number))
            for number in range(asked.customers, 0, -1)
        )
        await _call_all(self._resolve.handler, calls, asked.at_once)
        return Response(b"{}")

    def _call(self, endpoint: Endpoint, **query: str) -> Call[Any, Any]:
        return Call(
            context=self._context,
            actor="benchmark",
            covers=frozenset(),
            body=None,
            query=endpoint.query(**query),
            path={},
            headers={},
            request_id="benchmark",
            repeatable=None,
        )


async def _call_all(handler: Handler, calls: Iterator[Call[Any, Any]], at_once: int) -> None:
    """On a machine that does other things too, some may take longer than they may."""

    async def caller() -> None:
        for call in calls:
            with suppress(AbaxusError, *CONNECTION_FAULTS):
                await handler(call)

    await asyncio.gather(*(caller() for _ in range(at_once)))


def _drawn(customers: int) -> list[tuple[str, str]]:
    chance = random.Random(customers)
    return [population.drawn(chance, customers) for _ in range(CALLS_DRAWN)]


def _application(opened: App) -> Any:
    clock = _Clock()
    check, resolve = _endpoint(CHECK), _endpoint(RESOLVE)
    callers = _Callers(opened.contexts["live"], check, resolve, clock)
    ours = build(
        opened.contexts,
        opened.settings,
        opened.telemetry,
        resources=(
            *ENDPOINTS,
            _as(check, TIMED_CHECK, clock.timed(check.handler)),
            _as(check, TIMED_NOTHING, clock.timed(_nothing)),
        ),
    )
    starlette = Starlette(
        routes=[
            *bare.routes(),
            Route(TIMES, clock.read),
            Route(CALLS, callers.check, methods=["POST"]),
            Route(EVERYBODY, callers.resolve_everybody, methods=["POST"]),
        ]
    )

    async def either(scope: Any, receive: Any, send: Any) -> None:
        is_bare = scope["type"] == "http" and scope["path"].startswith("/b")
        await (starlette if is_bare else ours)(scope, receive, send)

    return either


def _endpoint(path: str) -> Endpoint:
    return next(each for each in ENDPOINTS if (each.method, each.path) == ("GET", path))


def _as(endpoint: Endpoint, path: str, handler: Handler) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        handler=handler,
        scope=endpoint.scope,
        query=endpoint.query,
        answers=endpoint.answers,
        summary="For the benchmark",
        tag="benchmark",
    )


async def _nothing(_call: Call[Any, Any]) -> Answer:
    await asyncio.sleep(0)
    return answer(200, {})


async def _serve() -> None:
    settings = config.load(os.environ)
    log.configure(settings.log_level, settings.log_format)
    async with stop_on_signals() as stop, app.opened(os.environ, process="api") as opened:
        await serve(
            _application(opened),
            server=settings.asgi_server,
            host="127.0.0.1",
            port=settings.port,
            stop=stop,
        )


if __name__ == "__main__":
    event_loop.run(_serve())
