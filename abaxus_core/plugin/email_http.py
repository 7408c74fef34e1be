"""What senders over HTTP share: one request, and what its answer proves.

`deliver` sends; a sender's own module says how the request looks and how the answer reads. Nothing
here knows a service.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
import msgspec

from abaxus_core.plugin.email import EmailOutcome, Scope, Unsendable

RETRY_AFTER_DIGITS_MAX: Final = 9

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a service means by its HTTP statuses; one that is in neither proves nothing."""

    rejected: Mapping[int, Scope]
    deferred: frozenset[int]

    def outcome(
        self, answer: httpx.Response, *, code: str | None = None, detail: str | None = None
    ) -> EmailOutcome:
        """The outcome of an answer that is no success; `code` goes before a word of ours."""
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


def retry_after_s(answer: httpx.Response) -> int | None:
    """Seconds that the answer's Retry-After asks to wait (RFC 9110, section 10.2.3).

    A date is held against the answer's own Date, so no clock of ours has a say.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= RETRY_AFTER_DIGITS_MAX:
        return int(text)
    then, now = http_date(text), answered_at(answer)
    return None if then is None or now is None else seconds_between(now, then)


def answered_at(answer: httpx.Response) -> datetime | None:
    """The answer's own Date."""
    return http_date(answer.headers.get("date", ""))


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
