"""The answer of a handler: status, bytes, headers; and how it leaves through ASGI."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import msgspec

from abaxus_core.http import codec

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

JSON = b"application/json"

# Answers are data, to be kept by nobody in between; a page adds what pages need.
SECURITY_HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)


class Answer(msgspec.Struct, frozen=True):
    """`headers` come on top of those that every answer carries."""

    status: int
    body: bytes
    media_type: bytes = JSON
    headers: tuple[Header, ...] = ()


def answer(status: int, value: object) -> Answer:
    """`value` as JSON; None leaves the body empty."""
    return Answer(status, b"" if value is None else codec.encode(value))


async def send_answer(
    send: Send, given: Answer, headers: tuple[Header, ...], *, without_body: bool
) -> None:
    """Send in full; to HEAD everything but the body."""
    start = [(b"content-length", b"%d" % len(given.body)), *SECURITY_HEADERS, *headers]
    if given.body:
        start.append((b"content-type", given.media_type))
    start.extend(given.headers)
    await send({"type": "http.response.start", "status": given.status, "headers": start})
    await send({"type": "http.response.body", "body": b"" if without_body else given.body})
