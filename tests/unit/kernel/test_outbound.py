"""The client of a plugin, against a server on this machine and hosts that must not be reached."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from abaxus_core.kernel import outbound


@asynccontextmanager
async def serving(*answers: bytes):
    """A server that gives these raw answers, one per connection; its URL and the requests seen."""
    seen: list[bytes] = []
    waiting = list(answers)

    async def answer(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(waiting.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"http://127.0.0.1:{port}/", seen


def raw(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


NO_HOSTS: frozenset[str] = frozenset()


def local_client():
    return outbound.open_client(NO_HOSTS, plain_loopback=True)


async def test_a_declared_host_answers_and_little_is_said_of_us():
    answer = raw("200 OK", "Set-Cookie: id=1", body=b"{}")
    async with serving(answer) as (url, seen), local_client() as client:
        response = await client.get(url)

    assert (response.status_code, response.content) == (200, b"{}")
    assert "set-cookie" not in response.headers
    names = [line.split(b":")[0].lower() for line in seen[0].split(b"\r\n")[1:] if line]
    assert sorted(names) == [b"accept", b"accept-encoding", b"connection", b"host", b"user-agent"]
    assert b"python" not in seen[0].lower()


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://api.stripe.com.evil.example/",
        "https://evilstripe.com/",
        "https://stripe.com/",
        "https://user:pass@evil.example/",
        "https://[::1]/",
        "https://127.0.0.1/",
        "http://api.stripe.com/",
        "http://127.0.0.1:1/",
        "http://localhost:1/",
    ],
)
async def test_what_is_not_declared_is_not_contacted(url):
    async with outbound.open_client(frozenset({"api.stripe.com", "*.adyen.com"})) as client:
        with pytest.raises(outbound.RequestRefused):
            await client.get(url)


@pytest.mark.parametrize(
    "answer",
    [
        raw("302 Found", "Location: https://evil.example/"),
        raw("307 Temporary Redirect", "Location: /elsewhere"),
        raw("200 OK", "Content-Encoding: gzip", body=b"\x1f\x8b"),
        raw("200 OK", body=b"x" * (outbound.RESPONSE_BYTES_MAX + 1)),
    ],
)
async def test_redirects_compression_and_floods_are_refused(answer):
    async with serving(answer) as (url, seen), local_client() as client:
        with pytest.raises(outbound.ResponseRefused):
            await client.get(url, follow_redirects=True)

    assert len(seen) == 1


async def test_the_environment_brings_no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with serving(raw("200 OK")) as (url, _), local_client() as client:
        assert (await client.get(url)).status_code == 200


async def test_a_failure_to_connect_is_the_transports_own_error():
    async with local_client() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("api.stripe.com", True),
        ("checkout-test.adyen.com", True),
        ("a.b.adyen.com", True),
        ("adyen.com", False),
        ("evil-adyen.com", False),
        (".adyen.com", False),
        ("api.stripe.com.", False),
        ("", False),
    ],
)
def test_which_hosts_a_pattern_means(host, allowed):
    patterns = frozenset({"api.stripe.com", "*.adyen.com"})
    assert outbound.host_allowed(host, patterns) is allowed


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("api.stripe.com", True),
        ("*.adyen.com", True),
        ("*", False),
        ("*.com", False),
        ("*.10.0.0.1/8", False),
        ("mail", True),
        ("a.*.com", False),
        ("API.stripe.com", False),
        ("api.stripe.com:443", False),
        ("https://api.stripe.com", False),
        ("10.0.0.1", True),
        ("10.0.0.1:25", False),
        ("", False),
    ],
)
def test_what_may_be_declared(text, is_one):
    assert outbound.is_host_pattern(text) is is_one
