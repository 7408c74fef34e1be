"""How long an import waits: from when the API last took a batch, of whichever sender's."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from abaxus_core.importer import sender
from abaxus_core.importer.sender import Outcome, Sender, Stopped
from abaxus_core.importer.source import Record
from tests.support.servers import served

TAKEN = b'{"accepted":1,"duplicates":0,"rejected":0,"results":[]}'
BUSY = Record(number=1, event=b'{"busy":1}')
EASY = Record(number=2, event=b'{"easy":1}')

Answers = Callable[[bytes], Awaitable[tuple[int, bytes]]]


class Api:
    """Something that listens and answers as `answers` says, given the body."""

    url: str
    answers: Answers

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        message = await receive()
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        status, content = await self.answers(body)
        headers = [(b"retry-after", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr(sender, "RETRY_DELAY_MIN_MS", 1)
    monkeypatch.setattr(sender, "PATIENCE_MS", 3)
    api = Api()
    async with served(api) as up:
        api.url = up.url
        yield api


async def test_a_batch_is_not_given_up_while_others_are_taken(api: Api) -> None:
    refusals = 0

    async def answers(body: bytes) -> tuple[int, bytes]:
        nonlocal refusals
        if b"busy" not in body or refusals == 9:
            return 207, TAKEN
        refusals += 1
        await sending.send([EASY])
        return 429, b""

    api.answers = answers
    whys: list[str] = []
    async with Sender(api.url, "k", connections_max=4, waits=whys.append) as sending:
        assert await sending.send([BUSY]) == Outcome(accepted=1)
    assert whys == ["the API answered 429"] * 9


async def test_a_batch_is_given_up_when_nothing_is_taken(api: Api) -> None:
    async def answers(body: bytes) -> tuple[int, bytes]:
        return 429, b""

    api.answers = answers
    async with Sender(api.url, "k", connections_max=4, waits=lambda _: None) as sending:
        with pytest.raises(Stopped, match="in 3 attempts: the API answered 429"):
            await sending.send([BUSY])


async def test_an_answer_that_leaves_events_out_stops(api: Api) -> None:
    async def answers(body: bytes) -> tuple[int, bytes]:
        return 207, TAKEN

    api.answers = answers
    async with Sender(api.url, "k", connections_max=4, waits=lambda _: None) as sending:
        with pytest.raises(Stopped, match="each of 2 events"):
            await sending.send([BUSY, EASY])
