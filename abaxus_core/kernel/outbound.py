"""The HTTP client of one plugin: it reaches the hosts the plugin declared and nothing else.

No redirects, no proxies or other settings from the environment, no cookies, no compressed answers,
TLS verified, every phase and every answer bounded. A whole call's deadline is the caller's.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from abaxus_core.kernel import http_transport

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 60
CONNECTIONS_MAX: Final = 20
RESPONSE_BYTES_MAX: Final = 4 << 20

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?:\*\.{_LABEL}\.)?(?:{_LABEL}\.)*{_LABEL}")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class RequestRefused(httpx.TransportError):
    """The host is not declared, or the request not encrypted: nothing was sent."""


class ResponseRefused(httpx.RemoteProtocolError):
    """The answer redirects, is compressed or too long; the request itself was sent."""


def is_host_pattern(text: str) -> bool:
    """Whether `text` is a lower-case host, or `*.` and a suffix of at least two labels."""
    return _HOST.fullmatch(text) is not None


def host_allowed(host: str, patterns: frozenset[str]) -> bool:
    """Whether `host` is one of the names, or ends in one of the `*.` suffixes."""
    return host in patterns or any(
        pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) >= len(pattern)
        for pattern in patterns
    )


@asynccontextmanager
async def open_client(
    hosts: frozenset[str],
    *,
    plain_loopback: bool = False,
    network: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """The client. For tests only: `plain_loopback` adds http and https to this machine, `network`
    carries what is allowed in place of the real one.
    """
    transport = _PinnedTransport(
        hosts, network or http_transport.network(CONNECTIONS_MAX), plain_loopback=plain_loopback
    )
    async with httpx.AsyncClient(
        transport=transport,
        headers={"User-Agent": "abaxus", "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        follow_redirects=False,
        trust_env=False,
    ) as client:
        yield client


class _PinnedTransport(httpx.AsyncBaseTransport):
    def __init__(
        self, hosts: frozenset[str], network: httpx.AsyncBaseTransport, *, plain_loopback: bool
    ) -> None:
        self._hosts = hosts
        self._plain_loopback = plain_loopback
        self._inner = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._check(request)
        response = await self._inner.handle_async_request(request)
        fault = _fault(response)
        if fault:
            await response.aclose()
            raise ResponseRefused(fault, request=request)
        return httpx.Response(
            response.status_code,
            headers=[(name, value) for name, value in response.headers.raw if not _cookie(name)],
            stream=_BoundedStream(response.stream, request),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _check(self, request: httpx.Request) -> None:
        url = request.url
        if self._plain_loopback and url.host in _LOOPBACK:
            return
        if url.scheme != "https":
            raise RequestRefused(f"{url.scheme} to {url.host} is not encrypted", request=request)
        if not host_allowed(url.host, self._hosts):
            raise RequestRefused(f"{url.host} is not a declared host", request=request)


def _fault(response: httpx.Response) -> str | None:
    if response.has_redirect_location:
        return "the answer is a redirect"
    if response.headers.get("content-encoding", "identity") != "identity":
        return "the answer is compressed, though not asked to be"
    return None


def _cookie(name: bytes) -> bool:
    return name.lower() == b"set-cookie"


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(
        self, inner: httpx.SyncByteStream | httpx.AsyncByteStream, request: httpx.Request
    ) -> None:
        assert isinstance(inner, httpx.AsyncByteStream)
        self._inner = inner
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._inner:
            received += len(chunk)
            if received > RESPONSE_BYTES_MAX:
                raise ResponseRefused(
                    f"the answer is longer than {RESPONSE_BYTES_MAX} bytes", request=self._request
                )
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
