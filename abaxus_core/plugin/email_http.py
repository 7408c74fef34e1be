"""What senders over HTTP share: one request, and what its answer proves.

`deliver` sends; a sender's own module says how the request looks and how the answer reads. Nothing
here knows a service.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import httpx
import msgspec

from abaxus_core.plugin.email import EmailOutcome, Scope, Unsendable

RETRY_AFTER_DIGITS_MAX: Final = 9
EPOCH_DIGITS_MAX: Final = 11

T = TypeVar("T")

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a service means by its HTTP statuses; one that is in neither proves nothing."""

    rejected: Mapping[int, Scope]
    deferred: frozenset[int]

    def outcome(
        self, answer: httpx.Response, *, code: str | None = None, detail: str | None = None
    ) -> EmailOutcome:
        """The outcome of an answer that is no success; `code` is the service's, if it has one."""
        status = answer.status_code
        code = code or f"http_{status}"
        if status in self.deferred:
            after_s = retry_after_s(answer)
            return EmailOutcome(status="deferred", code=code, retry_after_s=after_s, detail=detail)
        if status in self.rejected:
            scope = self.rejected[status]
            return EmailOutcome(status="rejected", code=code, scope=scope, detail=detail)
        return EmailOutcome(status="unknown", code=code, detail=detail)


async def deliver(
    http: httpx.AsyncClient,
    request: Callable[[], httpx.Request],
    outcome: Callable[[httpx.Response], EmailOutcome],
) -> EmailOutcome:
    """Send once what `request` makes. It may raise Unsendable: nothing is sent, the mail is
    rejected. An answer that `outcome` cannot decode (msgspec's errors) proves nothing.
    """
    try:
        made = request()
    except Unsendable as error:
        return error.outcome()
    try:
        answer = await http.send(made)
    except _NEVER_SENT:
        return EmailOutcome(status="deferred", code="unreachable")
    except httpx.TransportError as error:
        return EmailOutcome(status="unknown", code="no_answer", detail=type(error).__name__)
    try:
        return outcome(answer)
    except msgspec.MsgspecError:
        return EmailOutcome(
            status="unknown", code="unreadable_answer", detail=f"HTTP {answer.status_code}"
        )


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
