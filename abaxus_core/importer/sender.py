"""Sending batches to the API until it has taken them, and giving up only where nothing helps.

A batch may be sent any number of times: its events are known by their keys.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Literal, Self

import httpx
import msgspec

from abaxus_core.errors import AbaxusError
from abaxus_core.importer.source import Record

PATH: Final = "/v1/events/batch"
PATIENCE_MS: Final = 300_000
RETRY_DELAY_MIN_MS: Final = 100
RETRY_DELAY_MAX_MS: Final = 30_000
REQUEST_TIMEOUT_S: Final = 60

_AGAIN: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


class Stopped(AbaxusError):
    """The API does not take the file; what it has taken so far stays."""

    default_code = "IMPORT_STOPPED"


class ItemError(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    field: str | None = None


class ItemResult(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    status: Literal["queued", "rejected"]
    duplicate: bool
    error: ItemError | None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What of the API's answer an import looks at."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[ItemResult]


class Sender:
    """Bound to one API and key; an async context manager."""

    def __init__(self, url: str, key: str, *, connections_max: int) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=REQUEST_TIMEOUT_S,
            limits=httpx.Limits(max_connections=connections_max),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, batch: Sequence[Record]) -> BatchResult:
        """Return the API's answer. Raises Stopped when it refuses the batch or stays away."""
        body = b'{"events":[' + b",".join(record.event for record in batch) + b"]}"
        waited_ms = attempt = 0
        while waited_ms < PATIENCE_MS:
            answer = await self._try(body)
            if isinstance(answer, httpx.Response):
                if answer.status_code == HTTPStatus.MULTI_STATUS:
                    return msgspec.json.decode(answer.content, type=BatchResult)
                if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(batch) > 1:
                    return await self._send_halves(batch)
                if answer.status_code not in _AGAIN:
                    raise Stopped(_described(answer))
            attempt += 1
            delay_ms = _delay_ms(attempt, answer)
            waited_ms += delay_ms
            await asyncio.sleep(delay_ms / 1000)
        raise Stopped(f"the API did not take a batch in {attempt} attempts: {_described(answer)}")

    async def _try(self, body: bytes) -> httpx.Response | httpx.TransportError:
        try:
            return await self._http.post(PATH, content=body)
        except httpx.TransportError as error:
            return error

    async def _send_halves(self, batch: Sequence[Record]) -> BatchResult:
        middle = len(batch) // 2
        first = await self.send(batch[:middle])
        second = await self.send(batch[middle:])
        moved = [msgspec.structs.replace(one, index=one.index + middle) for one in second.results]
        return BatchResult(
            accepted=first.accepted + second.accepted,
            duplicates=first.duplicates + second.duplicates,
            rejected=first.rejected + second.rejected,
            results=[*first.results, *moved],
        )


def _delay_ms(attempt: int, answer: httpx.Response | httpx.TransportError) -> int:
    """What the API asks for, else doubling from RETRY_DELAY_MIN_MS; never over the maximum."""
    asked = answer.headers.get("retry-after", "") if isinstance(answer, httpx.Response) else ""
    wanted = int(asked) * 1000 if asked.isdigit() else RETRY_DELAY_MIN_MS << attempt
    return min(wanted, RETRY_DELAY_MAX_MS)


def _described(answer: httpx.Response | httpx.TransportError) -> str:
    if isinstance(answer, httpx.TransportError):
        return f"{type(answer).__name__}: {answer}"
    try:
        error = msgspec.json.decode(answer.content, type=dict[str, msgspec.Raw])["error"]
        told = msgspec.json.decode(error, type=ItemError)
    except (msgspec.MsgspecError, KeyError):
        return f"the API answered {answer.status_code}"
    return f"the API answered {answer.status_code} {told.code}: {told.message}"
