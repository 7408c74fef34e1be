"""The other end of a plugin's HTTP client, in memory: it records what is sent and answers as told.

It stands under the kernel's own client, whose rules on hosts, redirects and sizes hold as in
production. A reply is a function of the request; what goes wrong on the way is a reply that raises.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

import httpx
import msgspec

Reply = Callable[[httpx.Request], httpx.Response]

USUAL_HEADERS: Final = frozenset(
    {"host", "accept", "accept-encoding", "connection", "user-agent", "content-length"}
)
"""What httpx and the kernel's client say in every request."""

_FORM: Final = "application/x-www-form-urlencoded"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it left; names of headers in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> dict[str, str]:
        """What the query and the body say, by name: `amount.value`, `lines[].id`, `metadata[x]`."""
        query = httpx.URL(self.url).params
        return {**dict(query.items()), **fields_of(self.headers.get("content-type", ""), self.body)}


class Stage(httpx.AsyncBaseTransport):
    """Answers each request with `reply`."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.sent: list[Sent] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.sent.append(
            Sent(
                method=request.method,
                url=str(request.url),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=body,
            )
        )
        return self.reply(request)


class Remembering:
    """A service that keeps the answer to each key and gives it again, as real ones do; the first
    answer to each is lost on the way back. `acted` counts what it did.
    """

    def __init__(self, reply: Reply, key: str) -> None:
        self._reply = reply
        self._key = key
        self._kept: httpx.Response | None = None
        self.acted = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        keyed = self._key in request.headers.values()
        if keyed and self._kept is not None:
            kept = self._kept
            return httpx.Response(kept.status_code, headers=kept.headers, content=kept.content)
        self.acted += 1
        self._kept = self._reply(request)
        raise httpx.ReadTimeout("the answer is lost", request=request)


def json_reply(status: int, body: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Always this answer."""
    content = msgspec.json.encode(body)
    kind = {"Content-Type": "application/json", **(headers or {})}
    return lambda _request: httpx.Response(status, headers=kind, content=content)


def nonsense(status: int, content: bytes) -> Reply:
    return lambda _request: httpx.Response(status, content=content)


def redirect(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(307, headers={"Location": "/elsewhere"})


def failing(error: type[httpx.TransportError]) -> Reply:
    """Nothing answers."""

    def reply(request: httpx.Request) -> httpx.Response:
        raise error("broken by the kit", request=request)

    return reply


def halved(reply: Reply) -> Reply:
    """The answer breaks off in the middle of its body."""

    def half(request: httpx.Request) -> httpx.Response:
        whole = reply(request)
        stream = _Broken(whole.content[: len(whole.content) // 2], request)
        return httpx.Response(whole.status_code, headers=whole.headers, stream=stream)

    return half


def fields_of(media_type: str, body: bytes) -> dict[str, str]:
    """The texts of a JSON or form body by their names. Raises ValueError for any other body."""
    if not body:
        return {}
    kind = media_type.partition(";")[0].strip().lower()
    if kind == _FORM:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
    if kind == "application/json":
        return dict(_leaves("", msgspec.json.decode(body)))
    raise ValueError(f"no reader for {kind!r}")


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}".lstrip("."), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(f"{path}[]", inner)
    else:
        yield path, value if isinstance(value, str) else msgspec.json.encode(value).decode()


class _Broken(httpx.AsyncByteStream):
    def __init__(self, content: bytes, request: httpx.Request) -> None:
        self._content = content
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        raise httpx.RemoteProtocolError("the answer breaks off", request=self._request)
