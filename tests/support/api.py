"""The real application on a fresh database, spoken to over HTTP."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec

from abaxus_core.http import app
from abaxus_core.http.endpoint import Endpoint
from abaxus_core.http.routes import ENDPOINTS
from abaxus_core.kernel.clock import Clock
from abaxus_core.services import api_keys
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import Context, Work, perform
from tests.support.metering import context_of
from tests.support.postgres import TestDatabases
from tests.support.servers import client_of

MINUTE_NS = 60 * 1_000_000_000


class FakeMonotonic:
    """A monotonic clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_ns = 1

    def __call__(self) -> int:
        return self.now_ns


@dataclass(frozen=True, slots=True)
class Api:
    """`client` carries a live key of scope admin; `contexts` by mode."""

    client: httpx.AsyncClient
    contexts: dict[str, Context]
    monotonic: FakeMonotonic
    telemetry: Telemetry

    async def key(self, *scopes: str, mode: str = "live") -> str:
        """A new key with these scopes."""
        return await new_key(self.contexts[mode], *scopes)


@asynccontextmanager
async def serving(
    databases: TestDatabases,
    clock: Clock,
    *,
    resources: Sequence[Endpoint] = ENDPOINTS,
    **settings: str,
) -> AsyncIterator[Api]:
    """The application over both modes of `databases`."""
    contexts = {
        "live": context_of(databases.live, clock, **settings),
        "test": context_of(databases.test, clock, **settings),
    }
    monotonic = FakeMonotonic()
    telemetry = Telemetry()
    asgi = app.build(
        contexts,
        contexts["live"].settings,
        telemetry,
        monotonic_ns=monotonic,
        resources=resources,
    )
    key = await new_key(contexts["live"], "admin")
    async with client_of(asgi, bearer(key)) as client:
        yield Api(client, contexts, monotonic, telemetry)


async def new_key(context: Context, *scopes: str) -> str:
    """A new key of the context's mode."""

    async def step(work: Work) -> api_keys.Issued:
        return await api_keys.create(
            work,
            mode=context.mode,
            name="test",
            scopes=scopes,
            master_key=context.settings.api_master_key,
        )

    return (await perform(context, "system", step)).secret.reveal()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field of an error answer."""
    error = msgspec.json.decode(response.content)["error"]
    return response.status_code, error["code"], error["field"]
