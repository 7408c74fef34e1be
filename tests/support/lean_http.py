"""A client that asks for JSON over HTTP/1.1 at little cost, where thousands of answers are to be
had: it knows what our servers send, and nothing else.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"

Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content: bytes

    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.content)
        return decoded

    @property
    def code(self) -> str:
        """That of an error."""
        return str(self.json()["error"]["code"])


@dataclass(slots=True)
class LeanClient:
    """Asks the server on `port`; keeps as many connections as were ever in use at once."""

    port: int
    headers: Mapping[str, str]
    _idle: list[Connection] = field(default_factory=list)

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.ask("GET", target, headers=headers)

    async def post(self, target: str, body: object) -> Answer:
        return await self.ask("POST", target, msgspec.json.encode(body))

    async def ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Raises OSError or EOFError where there is no answer."""
        sent = {**self.headers, **(headers or {}), "Content-Length": str(len(body))}
        lines = [
            f"{method} {target} HTTP/1.1",
            "Host: api",
            *(f"{k}: {v}" for k, v in sent.items()),
        ]
        connection = await self._connect()
        try:
            reader, writer = connection
            writer.write("\r\n".join(lines).encode() + HEAD_END + body)
            answer = await _read(reader)
        except BaseException:
            connection[1].transport.abort()
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    async def _connect(self) -> Connection:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(HEAD_END)
    status = int(head[9:12])
    _, _, rest = head.lower().partition(LENGTH)
    length = int(rest[: rest.index(b"\r")])
    return Answer(status, await reader.readexactly(length))
