"""API processes that reach cache and database by lines of their own."""

import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.api import bearer
from tests.support.cache_servers import CacheServer, Line, line_to
from tests.support.lean_http import LeanClient
from tests.support.ports import free_port


@dataclass(slots=True)
class Site:
    """An API process and its lines to the cache and to the database."""

    name: str
    port: int
    cache: Line
    database: Line
    client: LeanClient
    environ: Mapping[str, str]
    pid: int = 0

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@asynccontextmanager
async def opened_site(
    name: str, key: str, dsn: str, server: CacheServer, settings: Mapping[str, str]
) -> AsyncIterator[Site]:
    """Its lines and its client; the process is to be started yet."""
    direct = urlsplit(dsn)
    assert direct.port is not None
    async with line_to(server.port) as cache, line_to(direct.port) as database:
        port = free_port()
        netloc = direct.netloc.replace(f":{direct.port}", f":{database.port}")
        environ = {
            "PORT": str(port),
            "REDIS_URL": cache.url,
            "DATABASE_URL": direct._replace(netloc=netloc).geturl(),
            **settings,
        }
        client = LeanClient(port, bearer(key))
        try:
            yield Site(name, port, cache, database, client, environ)
        finally:
            client.close()
