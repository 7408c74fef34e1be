"""The server side of the benchmark `http`: our application and bare Starlette on one server.

Paths under /bare go to Starlette routes that decode, encode and answer the same bytes, nothing
else; all others to ours, on a migrated database. Prints its key when it is about to listen.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from abaxus_core.app import Shared, context_of
from abaxus_core.http import app, server
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.routes import ENDPOINTS
from abaxus_core.kernel import config, event_loop, log, migrations
from abaxus_core.kernel.config import AsgiServer
from abaxus_core.kernel.database import Database, PoolSettings, open_databases
from abaxus_core.services import api_keys
from abaxus_core.services.documents.opening import documents_of
from abaxus_core.services.documents.press import Press
from abaxus_core.services.plugins import Providers
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import Context, Work, perform


class Sent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body of the size of a usage event."""

    customer_id: str
    metric_key: str
    value: int
    timestamp: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    customer_id: str
    metric_key: str
    total: int


SHOWN = Shown(customer_id="acme", metric_key="api_calls", total=1374923)


async def _serve(asgi_server: AsgiServer, dsn: str, port: int) -> None:
    log.configure("info", "json")
    pool = PoolSettings(ssl_mode="disable")
    await migrations.migrate(dsn, pool)
    async with open_databases(dsn, pool) as databases:
        telemetry = Telemetry()
        contexts = {mode: _context(databases.of(mode), dsn, telemetry) for mode in ("live", "test")}
        issued = await perform(contexts["live"], "system", _first_key(contexts["live"]))
        print(issued.secret.reveal(), flush=True)
        await server.serve(
            _both(contexts),
            server=asgi_server,
            host="127.0.0.1",
            port=port,
            stop=asyncio.Event(),
        )


def _both(contexts: Mapping[str, Context]) -> Any:
    ours = app.build(
        contexts,
        contexts["live"].settings,
        contexts["live"].telemetry,
        resources=(*ENDPOINTS, *_same_as_bare()),
    )
    bare = Starlette(
        routes=[
            Route("/bare", _bare_get, methods=["GET"]),
            Route("/bare", _bare_post, methods=["POST"]),
        ]
    )

    async def either(scope: Any, receive: Any, send: Any) -> None:
        is_bare = scope["type"] == "http" and scope["path"] == "/bare"
        await (bare if is_bare else ours)(scope, receive, send)

    return either


async def _bare_get(_request: Request) -> Response:
    return Response(msgspec.json.encode(SHOWN), media_type="application/json")


async def _bare_post(request: Request) -> Response:
    sent = msgspec.json.decode(await request.body(), type=Sent)
    return Response(msgspec.json.encode(sent), media_type="application/json")


def _same_as_bare() -> tuple[Endpoint, ...]:
    async def get(_call: Call[None, None]) -> Answer:
        return answer(200, SHOWN)

    async def post(call: Call[Sent, None]) -> Answer:
        return answer(200, call.body)

    return (
        _endpoint("GET", get, None),
        _endpoint("POST", post, Sent),
    )


def _endpoint(method: Any, handler: Any, body: Any) -> Endpoint:
    return Endpoint(
        method=method,
        path="/v1/same",
        handler=handler,
        scope="read",
        summary="The same as bare",
        tag="benchmark",
        body=body,
        answers={200: Shown},
    )


def _context(database: Database, dsn: str, telemetry: Telemetry) -> Context:
    settings = config.load(
        {
            "DATABASE_URL": dsn,
            "API_MASTER_KEY": "benchmark" * 4,
            "API_RATE_LIMIT_RPM": "100000000",
        }
    )
    nobody = Providers(
        payment_providers={}, default_payment_provider=None, email_provider=None, email_sender=None
    )
    shared = Shared(settings, telemetry, documents_of(settings, Press()))
    return context_of(shared, database, nobody)


def _first_key(context: Context) -> Callable[[Work], Awaitable[api_keys.Issued]]:
    async def create(work: Work) -> api_keys.Issued:
        return await api_keys.create(
            work,
            mode="live",
            name="benchmark",
            scopes=("write",),
            master_key=context.settings.api_master_key,
        )

    return create


if __name__ == "__main__":
    name = msgspec.convert(sys.argv[1], AsgiServer)
    event_loop.run(_serve(name, sys.argv[2], int(sys.argv[3])))
