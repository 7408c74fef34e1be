"""A payment provider on a real socket of this machine, with a memory of keys and money.

    async with StripeFake() as fake:
        http = redirected({"api.stripe.com": fake.url})
        fake.faults.append("lose")

Any process may be its client; it outlives them. Each request is validated (`complaints` must stay
empty; leaving the block asserts it), then meets the next of `faults`, if any:

    drop             the connection closes before anything was done
    rate_limited     said before the key is looked up; nothing done
    bad_credentials  the same
    key_in_use       as if the first send under this key were still under way
    unavailable      503, nothing done
    error_before     500, kept as the key's answer; nothing done
    error_after      the same, and the money moved
    wrong_amount     the money moved, another amount is told, and kept
    lose             done, and the connection closes unanswered
    hang             done, and no answer ever comes
    half             done, and the answer breaks off
    garbage          done, and the answer is none
    redirect         done, and the answer leads elsewhere
    hold             under way, until `release` is set
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec.structs import replace

from abaxus_core.kernel.clock import system_clock
from tests.support import provider_validation

Fault = Literal[
    "drop",
    "rate_limited",
    "bad_credentials",
    "key_in_use",
    "unavailable",
    "error_before",
    "error_after",
    "wrong_amount",
    "lose",
    "hang",
    "half",
    "garbage",
    "redirect",
    "hold",
]
EARLY = ("rate_limited", "bad_credentials", "key_in_use", "unavailable")
USUAL_HEADERS = {"host", "accept", "accept-encoding", "connection", "user-agent", "content-length"}


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came; names of headers in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    body: Any
    headers: dict[str, str] = {}

    def raw(self, at: datetime) -> bytes:
        content = json.dumps(self.body).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Date": at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "Connection": "close",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + content


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """Money that moved: `reference` is the attempt's, as the provider was told."""

    reference: str
    amount: int
    currency: str
    payment_id: str
    key: str


class ProviderFake:
    """What the fakes have in common; they say how a request is acted on."""

    provider: ClassVar[str]
    key_life: ClassVar[timedelta]
    headers: ClassVar[frozenset[str]]
    early: ClassVar[Mapping[str, Answer]]
    """The answers to faults that come before the key is looked up."""
    broken: ClassVar[Answer]
    """The 500 that is kept."""
    mismatch: ClassVar[Answer]
    """To a key that belongs to another request."""

    def __init__(self, now: Callable[[], datetime] = system_clock) -> None:
        self.now = now
        self.faults: deque[Fault] = deque()
        self.release = asyncio.Event()
        self.heard: list[Heard] = []
        self.complaints: list[str] = []
        self.charges: list[Charge] = []
        self._kept: dict[str, tuple[datetime, bytes, Answer]] = {}
        self._under_way: set[str] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        assert kind is not None or self.complaints == [], self.complaints

    def act(self, heard: Heard, said: Mapping[str, Any], known: str) -> Answer:
        """Do what is asked; what is refused is an answer, too."""
        raise NotImplementedError

    def said(self, heard: Heard, known: str) -> dict[str, Any]:
        """What the request says. Raises ValueError."""
        raise NotImplementedError

    def route(self, path: str) -> str:
        """The path as our schemas have it."""
        return path

    def kept_again(self, answer: Answer, key: str) -> Answer:
        """The answer of a key as it is given again."""
        return answer

    def keeps(self, answer: Answer) -> bool:
        """Whether the answer is given again under its key; what was not begun is not kept."""
        raise NotImplementedError

    def other_amount(self, answer: Answer) -> Answer:
        raise NotImplementedError

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        await asyncio.wait({task})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard = await _read(reader)
            self.heard.append(heard)
            for piece in await self._answered(heard):
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answered(self, heard: Heard) -> list[bytes]:
        """The bytes to write before the connection closes."""
        known = provider_validation.route(self.provider, heard.method, self.route(heard.path))
        said = self._validated(heard, known)
        if said is None or known is None:
            return [Answer(status=400, body={"error": "see complaints"}).raw(self.now())]
        fault = self.faults.popleft() if self.faults and heard.method == "POST" else None
        if fault == "drop":
            return []
        answer = await self._once(heard, said, known, fault)
        return await self._spoiled(answer.raw(self.now()), fault)

    def _validated(self, heard: Heard, known: str | None) -> dict[str, Any] | None:
        before = len(self.complaints)
        strangers = set(heard.headers) - USUAL_HEADERS - self.headers
        if strangers:
            self.complaints.append(f"undeclared headers {sorted(strangers)}")
        if known is None:
            self.complaints.append(f"unknown: {heard.method} {heard.path}")
            return None
        try:
            said = self.said(heard, known)
        except ValueError as error:
            self.complaints.append(f"{known}: {error}")
            return None
        wrong = provider_validation.complaints(self.provider, known, said)
        self.complaints += [f"{known}: {one}" for one in wrong]
        return said if len(self.complaints) == before else None

    async def _once(
        self, heard: Heard, said: dict[str, Any], known: str, fault: Fault | None
    ) -> Answer:
        """Under a key, act once and give the same answer ever after, for as long as keys live."""
        if fault in EARLY:
            return self.early[fault]
        key = heard.key
        if key is None:
            return self.act(heard, said, known)
        digest = hashlib.sha256(f"{heard.method} {heard.path}".encode() + heard.body).digest()
        kept = self._kept.get(key)
        if kept is not None and self.now() < kept[0] + self.key_life:
            return self.kept_again(kept[2], key) if kept[1] == digest else self.mismatch
        if key in self._under_way:
            return self.early["key_in_use"]
        self._under_way.add(key)
        try:
            answer = await self._acted(heard, said, known, fault)
        finally:
            self._under_way.discard(key)
        if self.keeps(answer):
            self._kept[key] = (self.now(), digest, answer)
        return answer

    async def _acted(
        self, heard: Heard, said: dict[str, Any], known: str, fault: Fault | None
    ) -> Answer:
        if fault == "hold":
            await self.release.wait()
        if fault == "error_before":
            return self.broken
        answer = self.act(heard, said, known)
        if fault == "error_after":
            return self.broken
        return self.other_amount(answer) if fault == "wrong_amount" else answer

    async def _spoiled(self, raw: bytes, fault: Fault | None) -> list[bytes]:
        match fault:
            case "lose":
                return []
            case "hang":
                await asyncio.Event().wait()
            case "half":
                return [raw[: raw.index(b"\r\n\r\n") + 20]]
            case "garbage":
                return [
                    b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n<h1>Welcome, guest</h1>"[:-1]
                ]
            case "redirect":
                return [b"HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"]
        return [raw]


async def _read(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    pairs = (line.split(": ", 1) for line in head[1:] if line)
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    return Heard(method=method, path=url.path, query=url.query, headers=headers, body=body)


def pairs(text: str) -> list[tuple[str, str]]:
    """The fields of a query or form."""
    return parse_qsl(text, keep_blank_values=True, strict_parsing=True) if text else []


def changed(answer: Answer, **changes: Any) -> Answer:
    return replace(answer, body={**answer.body, **changes})
