"""Providers under test: opened from settings as in production, their hosts led to servers here.

    http = redirected({"api.stripe.com": fake.url})
    async with opened(["stripe"], environ, http) as providers: …

Hosts are checked as ever; only what they let through goes to the address given for the host, over a
real socket, from any process. `services.plugins.opened` takes the same `http`.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from abaxus_core.kernel import outbound, plugin_manager
from abaxus_core.kernel.plugin_manager import HttpFactory
from abaxus_core.plugin.payments import PaymentProvider
from tests.support.waiting import WAIT_MAX_S

SPECS = Path(__file__).parents[3] / "shared" / "provider-specs"
"""Published documents and tables, where a developer has them."""


class _Redirected(httpx.AsyncBaseTransport):
    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._inner = httpx.AsyncHTTPTransport(trust_env=False, retries=0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        here = httpx.URL(self._addresses[request.url.host])
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                request.url.copy_with(scheme=here.scheme, host=here.host, port=here.port),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


def redirected(addresses: Mapping[str, str], *, timeout_s: float = 2) -> HttpFactory:
    """Clients as the kernel makes them, to `addresses` (host → URL), less patient with answers."""

    @asynccontextmanager
    async def open_client(hosts: frozenset[str]) -> AsyncIterator[httpx.AsyncClient]:
        async with outbound.open_client(hosts, network=_Redirected(addresses)) as client:
            client.timeout = httpx.Timeout(timeout_s, connect=WAIT_MAX_S)
            yield client

    return open_client


@asynccontextmanager
async def opened(
    names: Iterable[str], environ: Mapping[str, str], http: HttpFactory
) -> AsyncIterator[Mapping[str, PaymentProvider]]:
    """The payment providers of these plugins, by name."""
    plugins = plugin_manager.load(names, environ)
    async with plugin_manager.opened(plugins, http=http) as providers:
        yield providers.payment_providers
