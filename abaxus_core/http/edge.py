"""The edge of the HTTP side: every request comes in here and leaves with exactly one answer.

Routing, errors turned into answers, the request's id, its log line, its place in the statistics.
What a request must pass before its handler runs is dispatch.py's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from abaxus_core.errors import AbaxusError, NotFound
from abaxus_core.http.answers import Answer, Header, Receive, Send, send_answer
from abaxus_core.http.dispatch import Dispatcher, Incoming, Seen
from abaxus_core.http.endpoint import Endpoint
from abaxus_core.http.errors import MethodNotAllowed, as_ours, error_body, error_headers, status_of
from abaxus_core.http.headers import Headers
from abaxus_core.http.patience import Patience
from abaxus_core.http.request_ids import request_id
from abaxus_core.http.request_log import RequestLog
from abaxus_core.http.router import Match, Router
from abaxus_core.kernel import log
from abaxus_core.services.telemetry import Telemetry

REQUEST_TIMEOUT_S = 120
NS_PER_US = 1_000
NO_CONTENT = 204

_log = structlog.get_logger("abaxus.http")


class Edge:
    """An ASGI application; one per process."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        dispatcher: Dispatcher,
        telemetry: Telemetry,
        request_log: RequestLog,
        monotonic_ns: Callable[[], int],
    ) -> None:
        self._router = Router((each.method, each.path, each) for each in endpoints)
        self._dispatcher = dispatcher
        self._telemetry = telemetry
        self._request_log = request_log
        self._monotonic_ns = monotonic_ns
        self._patience = Patience(REQUEST_TIMEOUT_S)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _answer_protocol(scope["type"], receive, send)
            return
        started_ns = self._monotonic_ns()
        headers = Headers(scope["headers"])
        name = request_id(headers.get("x-request-id"))
        seen = Seen(request_id=name, method=scope["method"])
        token = log.request_id.set(name)
        try:
            given = await self._answer(scope, headers, receive, seen)
            await send_answer(send, given, _common(seen), without_body=seen.method == "HEAD")
            took_ns = self._monotonic_ns() - started_ns
            self._telemetry.request_answered(seen.method, seen.route, given.status, took_ns)
            self._request_log.answered(seen, scope["path"], given.status, took_ns // NS_PER_US)
        finally:
            log.request_id.reset(token)

    async def _answer(
        self, scope: Any, headers: Mapping[str, str], receive: Receive, seen: Seen
    ) -> Answer:
        try:
            match = self._match(scope["path"])
            if seen.method == "OPTIONS":
                return Answer(NO_CONTENT, b"", headers=((b"allow", _allow(match).encode()),))
            incoming = Incoming(
                endpoint=_endpoint(match, seen.method),
                path=match.path,
                raw_path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                headers=headers,
                receive=receive,
            )
            seen.route = incoming.endpoint.path
            return await self._patience.within(self._dispatcher.answer(incoming, seen))
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the caller is answered
            return self._refuse(error, seen)

    def _match(self, path: str) -> Match[Endpoint]:
        match = self._router.match(path)
        if match is None:
            raise NotFound("there is nothing at this path")
        return match

    def _refuse(self, error: Exception, seen: Seen) -> Answer:
        ours = as_ours(error)
        if ours is None:
            _log.error("request.failed", method=seen.method, route=seen.route, exc_info=error)
            ours = AbaxusError("something went wrong on our side; the request id tells us what")
        elif ours is not error:
            _log.warning("request.interrupted", route=seen.route, error=type(error).__name__)
        seen.code = ours.code
        self._telemetry.error_answered(ours.code)
        body = error_body(ours, seen.request_id)
        return Answer(status_of(ours), body, headers=error_headers(ours))


def _endpoint(match: Match[Endpoint], method: str) -> Endpoint:
    found = match.methods.get("GET" if method == "HEAD" else method)
    if found is None:
        raise MethodNotAllowed(_allow(match))
    return found


def _allow(match: Match[Endpoint]) -> str:
    methods = set(match.methods) | {"OPTIONS"}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _common(seen: Seen) -> tuple[Header, ...]:
    """What every answer carries besides its own headers."""
    request = (b"x-request-id", seen.request_id.encode())
    if seen.allowance is None:
        return (request,)
    return (
        request,
        (b"x-ratelimit-limit", b"%d" % seen.allowance.limit),
        (b"x-ratelimit-remaining", b"%d" % seen.allowance.remaining),
        (b"x-ratelimit-reset", b"%d" % seen.allowance.reset_s),
    )


async def _answer_protocol(kind: str, receive: Receive, send: Send) -> None:
    """The server's start and stop, which the composition root sees to; websockets are refused."""
    if kind == "websocket":
        await send({"type": "websocket.close"})
        return
    for _phase in ("startup", "shutdown"):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
