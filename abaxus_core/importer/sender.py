"""Sending batches to the API until it has taken them, and giving up only where nothing helps.

A batch may be sent any number of times: its events are known by their keys.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Literal, Self

import httpx
import msgspec

from abaxus_core.errors import AbaxusError
from abaxus_core.importer.source import Fault, Record
from abaxus_core.kernel import http_transport

PATH: Final = "/v1/events/batch"
PATIENCE_MS: Final = 900_000
RETRY_DELAY_MIN_MS: Final = 100
RETRY_DELAY_MAX_MS: Final = 60_000
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
_SPOILT: Final = frozenset({"BODY_TOO_LARGE", "MALFORMED_JSON", "VALIDATION_FAILED"})
"""What the API says of a whole request that a single record may be the cause of."""


class Stopped(AbaxusError):
    """The API does not take the events; what it has taken so far stays."""

    default_code = "IMPORT_STOPPED"


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """The record at `index` of what was sent."""

    index: int
    fault: Fault


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of records sent together; each is in exactly one of the three."""

    accepted: int = 0
    duplicates: int = 0
    rejected: tuple[Rejected, ...] = ()


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What of the API's answer an import looks at; `results` only where some were rejected."""

    accepted: int
    duplicates: int
    rejected: int
    results: msgspec.Raw


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    status: Literal["queued", "rejected"]
    error: Fault | None


class _Refusal(msgspec.Struct, frozen=True, kw_only=True):
    error: Fault


_answers = msgspec.json.Decoder(_Answer)
_results = msgspec.json.Decoder(list[_Result])
_refusals = msgspec.json.Decoder(_Refusal)


class Sender:
    """Bound to one API and key; an async context manager. `waits` hears why nothing moves."""

    def __init__(
        self, url: str, key: str, *, connections_max: int, waits: Callable[[str], None]
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=REQUEST_TIMEOUT_S,
            transport=http_transport.network(connections_max),
            trust_env=False,
        )
        self._waits = waits
        self._taken = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, batch: Sequence[Record]) -> Outcome:
        """Return what the API made of each record.

        Waits while the API asks for it or is away, PATIENCE_MS from when it last took any batch.
        Raises Stopped after that, and when it refuses what waiting does not change.
        """
        body = b'{"events":[' + b",".join(record.event for record in batch) + b"]}"
        attempt = waited_ms = 0
        taken = self._taken
        while waited_ms < PATIENCE_MS:
            answer = await self._try(body)
            if isinstance(answer, httpx.Response):
                if answer.status_code == HTTPStatus.MULTI_STATUS:
                    self._taken += 1
                    return _outcome(answer, len(batch))
                if _is_spoilt(answer):
                    return await self._send_apart(batch, answer)
                if answer.status_code not in _AGAIN:
                    raise Stopped(_described(answer))
            if self._taken != taken:
                attempt = waited_ms = 0
                taken = self._taken
            attempt += 1
            waited_ms += await self._wait(attempt, answer)
        raise Stopped(f"the API did not take a batch in {attempt} attempts: {_described(answer)}")

    async def _try(self, body: bytes) -> httpx.Response | httpx.TransportError:
        try:
            return await self._http.post(PATH, content=body)
        except httpx.TransportError as error:
            return error

    async def _wait(self, attempt: int, answer: httpx.Response | httpx.TransportError) -> int:
        """Return how many milliseconds went by since the attempt began, as far as is known."""
        self._waits(_described(answer))
        delay_ms = _delay_ms(attempt, answer)
        await asyncio.sleep(delay_ms / 1000)
        timed_out = isinstance(answer, httpx.TimeoutException)
        return delay_ms + (REQUEST_TIMEOUT_S * 1000 if timed_out else 0)

    async def _send_apart(self, batch: Sequence[Record], answer: httpx.Response) -> Outcome:
        """Halve what the API refuses as a whole, down to the records that are the cause."""
        if len(batch) == 1:
            fault = _refusal(answer) or Fault(code="BODY_TOO_LARGE", message=_described(answer))
            return Outcome(rejected=(Rejected(index=0, fault=fault),))
        middle = len(batch) // 2
        first = await self.send(batch[:middle])
        second = await self.send(batch[middle:])
        moved = (msgspec.structs.replace(one, index=one.index + middle) for one in second.rejected)
        return Outcome(
            accepted=first.accepted + second.accepted,
            duplicates=first.duplicates + second.duplicates,
            rejected=(*first.rejected, *moved),
        )


def _outcome(answer: httpx.Response, count: int) -> Outcome:
    """Raises Stopped unless the answer accounts for each of the `count` events."""
    told = _answers.decode(answer.content)
    results = _results.decode(told.results) if told.rejected else []
    rejected = tuple(
        Rejected(index=one.index, fault=one.error) for one in results if one.error is not None
    )
    if told.accepted + told.duplicates + len(rejected) != count:
        raise Stopped(f"the API does not account for each of {count} events")
    return Outcome(accepted=told.accepted, duplicates=told.duplicates, rejected=rejected)


def _is_spoilt(answer: httpx.Response) -> bool:
    """Whether a part of the batch may be taken where the whole is not."""
    if answer.status_code in _AGAIN:
        return False
    told = _refusal(answer)
    too_large = answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return too_large or (told is not None and told.code in _SPOILT)


def _delay_ms(attempt: int, answer: httpx.Response | httpx.TransportError) -> int:
    """What the API asks for, else doubling from RETRY_DELAY_MIN_MS; within both bounds."""
    asked = answer.headers.get("retry-after", "") if isinstance(answer, httpx.Response) else ""
    wanted = int(asked) * 1000 if asked.isdecimal() else RETRY_DELAY_MIN_MS << attempt
    return min(max(wanted, RETRY_DELAY_MIN_MS), RETRY_DELAY_MAX_MS)


def _described(answer: httpx.Response | httpx.TransportError) -> str:
    if isinstance(answer, httpx.TransportError):
        return f"{type(answer).__name__}: {answer}"
    told = _refusal(answer)
    if told is None:
        return f"the API answered {answer.status_code}"
    return f"the API answered {answer.status_code} {told.code}: {told.message}"


def _refusal(answer: httpx.Response) -> Fault | None:
    """The API's error; None when it was not the API that answered."""
    try:
        return _refusals.decode(answer.content).error
    except msgspec.MsgspecError:
        return None
