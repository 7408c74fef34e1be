"""An application behind the ASGI server that the suite runs on, over real sockets.

ABAXUS_TEST_ASGI_SERVER names the server; processes that tests start run on it too.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from abaxus_core.http import server
from abaxus_core.kernel.config import AsgiServer
from abaxus_core.kernel.http_transport import network
from tests.support.ports import free_port
from tests.support.waiting import eventually

ASGI_SERVER: AsgiServer = os.environ.get("ABAXUS_TEST_ASGI_SERVER", "hypercorn")
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens on a port of this machine."""

    port: int
    stop: asyncio.Event
    serving: "asyncio.Task[None]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def end(self) -> None:
        """Tell it to stop, and wait until it has."""
        self.stop.set()
        await self.serving


@asynccontextmanager
async def served(asgi: Any) -> AsyncIterator[Served]:
    """The application, listening."""
    port, stop = free_port(), asyncio.Event()
    serving = asyncio.create_task(
        server.serve(asgi, server=ASGI_SERVER, host="127.0.0.1", port=port, stop=stop)
    )
    up = Served(port, stop, serving)
    try:
        await eventually(listens, port)
        yield up
    finally:
        await up.end()


@asynccontextmanager
async def client_of(
    asgi: Any, headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """What speaks to the application, with these headers in every request."""
    async with served(asgi) as up, client_at(up.url, headers) as client:
        yield client


def client_at(url: str, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """What speaks to the server at `url`."""
    return httpx.AsyncClient(
        base_url=url, headers=headers, timeout=TIMEOUT_S, transport=network(), trust_env=False
    )


async def listens(port: int) -> bool:
    """Whether somebody takes connections on the port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
