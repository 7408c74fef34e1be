"""Listening: the ASGI server that ASGI_SERVER names, inside our own process, until told to stop.

A module for each server; only the chosen one is imported. What a caller may rely on is the same on
all of them: tests run on each. Nothing else of ours knows which it is.
"""

import asyncio
from importlib import import_module
from typing import Any, Protocol, cast

from abaxus_core.http.server.senders import Senders
from abaxus_core.kernel.config import AsgiServer


class _Server(Protocol):
    async def serve(self, app: Any, *, host: str, port: int, stop: asyncio.Event) -> None: ...


async def serve(app: Any, *, server: AsgiServer, host: str, port: int, stop: asyncio.Event) -> None:
    """Answer on `host:port` until `stop` is set; then let what runs finish, for some seconds.

    Raises OSError when the address is taken.
    """
    chosen = cast("_Server", import_module(f"{__name__}.on_{server}"))
    senders = Senders()
    giving_up = asyncio.create_task(senders.give_up_after(stop))
    try:
        await chosen.serve(senders.noted(app), host=host, port=port, stop=stop)
    finally:
        giving_up.cancel()
