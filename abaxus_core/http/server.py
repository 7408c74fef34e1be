"""Listening: hypercorn inside our own process, until told to stop.

Nothing else imports hypercorn, so that another ASGI server could stand here.
"""

import asyncio
import logging
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

BACKLOG = 1_024
# hypercorn closes a connection silently after this many requests; a busy client sees a cut.
KEEP_ALIVE_REQUESTS_MAX = 1_000_000_000
# Longer than the usual idle time of load balancers, which must be the first to hang up.
KEEP_ALIVE_TIMEOUT_S = 75
GRACEFUL_TIMEOUT_S = 3


async def serve(app: Any, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Answer on `host:port` until `stop` is set; then let what runs finish, for some seconds.

    Raises OSError when the address is taken.
    """
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.backlog = BACKLOG
    config.keep_alive_max_requests = KEEP_ALIVE_REQUESTS_MAX
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT_S
    config.graceful_timeout = GRACEFUL_TIMEOUT_S
    config.shutdown_timeout = GRACEFUL_TIMEOUT_S
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("abaxus.server")
    await hypercorn_serve(app, config, shutdown_trigger=stop.wait)
