"""What senders over HTTP share: one request, and what its answer proves.

`deliver` sends; a sender's own module says how the request looks and how the answer reads. Nothing
here knows a service.
"""

from collections.abc import Callable, Mapping

import httpx
import msgspec

from abaxus_core.plugin.email import EmailOutcome, Scope, Unsendable
from abaxus_core.plugin.http import Silence, answered, retry_after_s


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
    answer = await answered(http.send(made))
    if isinstance(answer, Silence):
        return EmailOutcome(
            status="deferred" if answer.status == "transient" else "unknown",
            code=answer.code,
            detail=answer.detail,
        )
    try:
        return outcome(answer)
    except msgspec.MsgspecError:
        return EmailOutcome(
            status="unknown", code="unreadable_answer", detail=f"HTTP {answer.status_code}"
        )
