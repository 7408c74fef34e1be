"""hypercorn: the default, pure Python; HTTP/1.1, and HTTP/2 for who asks for it."""

import asyncio
import logging
from typing import Any, Final

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from abaxus_core.http.server.bounds import (
    BACKLOG,
    GRACEFUL_TIMEOUT_S,
    HEAD_SIZE_MAX,
    KEEP_ALIVE_TIMEOUT_S,
)

# hypercorn closes a connection silently after this many requests; a busy client sees a cut.
KEEP_ALIVE_REQUESTS_MAX: Final = 1_000_000_000


async def serve(app: Any, *, host: str, port: int, stop: asyncio.Event) -> None:
    """As `server.serve`."""
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.backlog = BACKLOG
    config.h11_max_incomplete_size = HEAD_SIZE_MAX
    config.keep_alive_max_requests = KEEP_ALIVE_REQUESTS_MAX
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT_S
    config.graceful_timeout = GRACEFUL_TIMEOUT_S
    config.shutdown_timeout = GRACEFUL_TIMEOUT_S
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("abaxus.server")
    await hypercorn_serve(app, config, shutdown_trigger=stop.wait)
