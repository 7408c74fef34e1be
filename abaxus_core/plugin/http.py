"""What plugins over HTTP share: what no answer proves, and how answers are read.

Only a connection that never came about proves that nothing was sent, and only of the first send.
"""

from collections.abc import Awaitable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, TypeVar

import httpx
import msgspec

RETRY_AFTER_DIGITS_MAX: Final = 9
EPOCH_DIGITS_MAX: Final = 11

T = TypeVar("T")

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody answered. `transient`: nothing was sent, now or before; `unknown`: it may have
    arrived. `detail` names the error.
    """

    status: Literal["transient", "unknown"]
    code: str
    detail: str


async def answered(
    request: Awaitable[httpx.Response], *, replay: bool = False
) -> httpx.Response | Silence:
    """Return the answer to a request, or what its absence proves.

    `replay`: it was sent before, so that nothing that happens now proves it unsent.
    """
    try:
        return await request
    except _NEVER_SENT as error:
        return Silence(
            status="unknown" if replay else "transient",
            code="unreachable",
            detail=type(error).__name__,
        )
    except httpx.TransportError as error:
        return Silence(status="unknown", code="no_answer", detail=type(error).__name__)


def decoded(answer: httpx.Response, kind: type[T]) -> T | None:
    """The answer's JSON; None where it is none or of another shape, as error pages are."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError:
        return None


def retry_after_s(answer: httpx.Response) -> int | None:
    """Seconds that the answer's Retry-After asks to wait (RFC 9110, section 10.2.3).

    A date is held against the answer's own Date, so no clock of ours has a say.
    """
    text = answer.headers.get("retry-after", "").strip()
    seconds = _whole_seconds(text, RETRY_AFTER_DIGITS_MAX)
    if seconds is not None:
        return seconds
    then, now = http_date(text), answered_at(answer)
    return None if then is None or now is None else seconds_between(now, then)


def answered_at(answer: httpx.Response) -> datetime | None:
    """The answer's own Date."""
    return http_date(answer.headers.get("date", ""))


def epoch(text: str) -> datetime | None:
    """The instant that `text` gives in seconds since 1970; None where it gives none."""
    seconds = _whole_seconds(text, EPOCH_DIGITS_MAX)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def http_date(text: str) -> datetime | None:
    """An aware instant; None where `text` is no date."""
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def seconds_between(start: datetime, end: datetime) -> int:
    """Whole seconds, 0 where `end` is past."""
    return max(0, int((end - start).total_seconds()))


def _whole_seconds(text: str, digits_max: int) -> int | None:
    number = text.isascii() and text.isdigit() and len(text) <= digits_max
    return int(text) if number else None
