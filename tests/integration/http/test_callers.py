"""Callers as bad as the network has them, and what the ASGI server does before we hear of them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from abaxus_core.http import server
from tests.support.servers import ASGI_SERVER, Served, served

CLOSE_MAX_S = 10
GET = b"GET /x HTTP/1.1\r\nhost: a\r\n"
POST = b"POST /x HTTP/1.1\r\nhost: a\r\n"


class Echo:
    """Answers with the body that was sent; remembers who hung up."""

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] == "lifespan":
            for _ in "ab":
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.hung_up.set()
                return
            body += message["body"]
            more = message["more_body"]
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


class Line:
    """A connection of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def status(self) -> int:
        """The status of the next answer, whose body is left for `rest`."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split()[1])

    async def rest(self) -> bytes:
        """All that comes until the server hangs up, which it must."""
        async with asyncio.timeout(CLOSE_MAX_S):
            return await self.reader.read()


@asynccontextmanager
async def calling(up: Served) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def up(echo: Echo) -> AsyncIterator[Served]:
    async with served(echo) as up:
        yield up


@pytest.fixture
async def line(up: Served) -> AsyncIterator[Line]:
    async with calling(up) as line:
        yield line


async def test_an_endless_head_is_refused(line: Line) -> None:
    await line.say(GET)
    for _ in range(20):
        await line.say(b"x-more: " + b"x" * 1_000 + b"\r\n")
    assert await line.status() == 431
    await line.rest()


async def test_an_endless_trailer_is_cut(line: Line) -> None:
    await line.say(POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    with suppress(ConnectionError):
        await line.say((b"x-more: " + b"x" * 1_000 + b"\r\n") * 1_000)
        assert b" 200 " not in await line.rest()


@pytest.mark.parametrize(
    "content",
    [
        b"GET\r\n\r\n",
        b"GET /x HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        POST + b"content-length: x\r\n\r\n",
        POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 what TLS begins with\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_hung_up_on(line: Line, content: bytes) -> None:
    await line.say(content)
    assert await line.status() == 400
    await line.rest()


async def test_a_body_with_two_lengths_has_one(line: Line) -> None:
    """Two readings of one request are how requests are smuggled past a proxy."""
    await line.say(
        POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    )
    status = await line.status()
    assert status == 400 or (status == 200 and await line.reader.readexactly(1) == b"x")


@pytest.mark.parametrize("begun", [b"", GET])
async def test_who_says_nothing_more_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, echo: Echo, begun: bytes
) -> None:
    monkeypatch.setattr(f"abaxus_core.http.server.on_{ASGI_SERVER}.KEEP_ALIVE_TIMEOUT_S", 1)
    async with served(echo) as up, calling(up) as line:
        await line.say(begun)
        assert await line.rest() == b""
    async with served(echo) as up, calling(up) as line:
        await line.say(GET + b"\r\n")
        assert await line.status() == 200
        await line.say(begun)
        assert await line.rest() == b""


async def test_one_who_asks_first_is_told_to_go_on(line: Line) -> None:
    await line.say(POST + b"content-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert await line.status() == 100
    await line.say(b"ok")
    assert await line.status() == 200
    assert await line.reader.readexactly(2) == b"ok"


async def test_requests_sent_together_are_answered_in_turn(line: Line) -> None:
    asked = [POST + b"content-length: 1\r\n\r\n%d" % number for number in range(5)]
    await line.say(b"".join(asked))
    for number in range(5):
        assert await line.status() == 200
        assert await line.reader.readexactly(1) == b"%d" % number


async def test_http_1_0_is_answered_once(line: Line) -> None:
    await line.say(b"POST /x HTTP/1.0\r\ncontent-length: 2\r\n\r\nok")
    assert await line.status() == 200
    assert await line.rest() == b"ok"


async def test_an_offer_to_speak_something_else_is_passed_over(line: Line) -> None:
    offer = b"connection: upgrade\r\nupgrade: something\r\n\r\n"
    for _ in "ab":
        await line.say(GET + offer)
        assert await line.status() == 200


async def test_who_hangs_up_within_a_body_harms_nobody(up: Served, echo: Echo) -> None:
    async with calling(up) as line:
        await line.say(POST + b"content-length: 9\r\n\r\nx")
    async with asyncio.timeout(CLOSE_MAX_S):
        await echo.hung_up.wait()
    async with calling(up) as line:
        await line.say(GET + b"\r\n")
        assert await line.status() == 200


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
async def test_an_address_that_is_taken_is_an_error_of_the_system(up: Served, echo: Echo) -> None:
    with pytest.raises(OSError, match="in use"):
        await server.serve(
            echo, server=ASGI_SERVER, host="127.0.0.1", port=up.port, stop=asyncio.Event()
        )


async def test_signals_stay_with_the_process(echo: Echo) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with served(echo):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
