"""Bodies: bounded while they arrive and while they unpack."""

import gzip
from collections.abc import Sequence

import pytest

from abaxus_core.errors import AbaxusError, BodyTooLarge, MalformedBody, UnsupportedMedia
from abaxus_core.http.answers import Message, Receive
from abaxus_core.http.body import read_body

SIZE_MAX = 1_000
PACKED = {"content-encoding": "gzip"}


def arriving(chunks: Sequence[bytes]) -> Receive:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    iterator = iter(messages)

    async def receive() -> Message:
        return next(iterator)

    return receive


async def test_chunks_are_put_together() -> None:
    assert await read_body({}, arriving([b"{", b"}"]), SIZE_MAX) == b"{}"
    assert await read_body({}, arriving([]), SIZE_MAX) == b""
    whole = b"x" * SIZE_MAX
    assert await read_body({}, arriving([whole[:1], whole[1:]]), SIZE_MAX) == whole


@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_gzip_is_unpacked_however_it_is_cut(step: int) -> None:
    packed = gzip.compress(b'{"a": 1}' * 100)
    chunks = [packed[start : start + step] for start in range(0, len(packed), step)]
    assert await read_body(PACKED, arriving(chunks), SIZE_MAX) == b'{"a": 1}' * 100


PACKED_BOMB = gzip.compress(b" " * 10_000_000)


@pytest.mark.parametrize(
    ("headers", "chunks", "kind"),
    [
        ({"content-length": "1001"}, [b"x"], BodyTooLarge),
        ({}, [b"x" * 600, b"x" * 600], BodyTooLarge),
        (PACKED, [PACKED_BOMB[:500], PACKED_BOMB[500:]], BodyTooLarge),
        (PACKED, [gzip.compress(b"x" * 1_001)], BodyTooLarge),
        (PACKED, [b"not gzip at all"], MalformedBody),
        (PACKED, [gzip.compress(b"{}")[:-3]], MalformedBody),
        (PACKED, [gzip.compress(b"{}") + b"more"], MalformedBody),
        (PACKED, [gzip.compress(b"{}"), b"more"], MalformedBody),
        ({"content-encoding": "br"}, [b"x"], UnsupportedMedia),
        ({"content-type": "text/plain"}, [b"{}"], UnsupportedMedia),
        ({"content-type": "application/json; charset=latin-1"}, [b"{}"], UnsupportedMedia),
    ],
)
async def test_what_is_refused(
    headers: dict[str, str], chunks: list[bytes], kind: type[AbaxusError]
) -> None:
    with pytest.raises(kind):
        await read_body(headers, arriving(chunks), SIZE_MAX)


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "Application/JSON; charset=UTF-8", "application/merge-patch+json"],
)
async def test_json_is_read_under_its_names(content_type: str) -> None:
    headers = {"content-type": content_type}
    assert await read_body(headers, arriving([b"{}"]), SIZE_MAX) == b"{}"


async def test_a_sender_who_leaves_is_no_fault_of_ours() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(MalformedBody):
        await read_body({}, receive, SIZE_MAX)
