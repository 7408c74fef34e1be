"""One request to one endpoint: admit, authorise, count, read, decode, handle.

The order is deliberate: who is not let in learns nothing of the route, and costs no body.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from abaxus_core.errors import InvalidInput, MalformedBody, RateLimited
from abaxus_core.http import codec
from abaxus_core.http.answers import Answer, Receive
from abaxus_core.http.auth import Caller, Gate
from abaxus_core.http.body import media_type_of, read_body
from abaxus_core.http.endpoint import Call, Endpoint, Form
from abaxus_core.http.ratelimit import Allowance, RateLimiter
from abaxus_core.http.shapes import Fault, text
from abaxus_core.services.idempotency import Request
from abaxus_core.services.work import Context

IDEMPOTENCY_KEY_LENGTH_MAX = 255
# A decoded body takes some ten times its bytes; so few large ones are decoded and handled at once.
LARGE_BODY_BYTES = 64 << 10
LARGE_BODIES_MAX = 8
QUERY_LENGTH_MAX = 8_000
QUERY_NAMES_MAX = 50
QUERY_KNOWN_LENGTH_MAX = 256
QUERIES_KNOWN_MAX = 16_384
NOBODY = "anonymous"
NO_ROUTE = "none"


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For routes that take no query: whatever is there is refused by name."""


class KeyOnly(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a POST that says nothing but, perhaps, its key."""

    idempotency_key: codec.IdempotencyKey | None = None


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose endpoint is known. `query` is the raw query string."""

    endpoint: Endpoint
    path: Mapping[str, str]
    raw_path: str
    query: str
    headers: Mapping[str, str]
    receive: Receive


class Seen(msgspec.Struct, kw_only=True):
    """What the edge wants to know of a request afterwards, however it ended."""

    request_id: str
    method: str
    route: str = NO_ROUTE
    key_id: str = NOBODY
    allowance: Allowance | None = None
    code: str | None = None


class Dispatcher:
    """One per process: what stands before every handler."""

    def __init__(
        self,
        contexts: Mapping[str, Context],
        gate: Gate,
        limiter: RateLimiter,
        body_size_max: int,
    ) -> None:
        self._nobody = Caller(contexts["live"], NOBODY, frozenset())
        self._gate = gate
        self._limiter = limiter
        self._body_size_max = body_size_max
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES_MAX)

    async def answer(self, incoming: Incoming, seen: Seen) -> Answer:
        """The handler's answer. Raises what the edge turns into an error answer."""
        endpoint = incoming.endpoint
        caller = self._nobody
        if endpoint.scope is not None:
            caller = await self._gate.admit(incoming.headers.get("authorization", ""))
            self._count(caller, seen)
            caller.check_scope(endpoint.scope)
        _check_path(incoming.path)
        if endpoint.method not in ("POST", "PATCH"):
            return await _handle(incoming, seen, caller, None)
        raw = await read_body(incoming.headers, incoming.receive, self._body_size_max)
        if len(raw) < LARGE_BODY_BYTES:
            return await _handle(incoming, seen, caller, raw)
        async with self._large_bodies:
            return await _handle(incoming, seen, caller, raw)

    def _count(self, caller: Caller, seen: Seen) -> None:
        seen.key_id = caller.key_id
        seen.allowance = self._limiter.take(caller.key_id)
        if seen.allowance is not None and not seen.allowance.allowed:
            raise RateLimited(
                f"this key made more than {seen.allowance.limit} requests in a minute",
                retry_after_s=seen.allowance.reset_s,
            )


async def _handle(incoming: Incoming, seen: Seen, caller: Caller, raw: bytes | None) -> Answer:
    """Decode and let the handler answer; `raw` is None where no body belongs."""
    query = _read_query(incoming.endpoint, incoming.query)
    form = _form(incoming)
    body, tree = (None, None) if raw is None else _read_body(incoming.endpoint, form, raw)
    call: Call[Any, Any] = Call(
        context=caller.context,
        actor=caller.key_id,
        covers=caller.covers,
        body=body,
        query=query,
        path=incoming.path,
        headers=incoming.headers,
        request_id=seen.request_id,
        repeatable=_repeatable(incoming, caller.key_id, tree),
    )
    handler = incoming.endpoint.handler if form is None else form.handler
    return await handler(call)


def _form(incoming: Incoming) -> Form | None:
    forms = incoming.endpoint.forms
    return forms.get(media_type_of(incoming.headers.get("content-type", ""))) if forms else None


def _read_body(
    endpoint: Endpoint, form: Form | None, raw: bytes
) -> tuple[Any, dict[str, Any] | None]:
    """The typed body, and the tree it was made from where there was need of one."""
    if form is not None:
        return form.read(raw), None
    if endpoint.quick is not None and (body := endpoint.quick(raw)) is not None:
        return body, None
    wire_type = endpoint.body or KeyOnly
    if not raw and needs_body(wire_type):
        raise MalformedBody("a JSON body is needed, and there is none")
    tree = codec.parse(raw) if raw else {}
    if endpoint.rewrite is not None and isinstance(tree, dict):
        codec.check_free(tree)
        tree = endpoint.rewrite(tree)
    return codec.typed(wire_type, tree), tree if isinstance(tree, dict) else None


@cache
def needs_body(wire_type: Any) -> bool:
    """Whether an empty body cannot stand for `{}`."""
    info = msgspec.inspect.type_info(wire_type)
    return not isinstance(info, msgspec.inspect.StructType) or any(
        field.required for field in info.fields
    )


def _read_query(endpoint: Endpoint, query: str) -> Any:
    if not query and endpoint.query is None:
        return None
    wire_type = endpoint.query or NoQuery
    return (_short_query if len(query) <= QUERY_KNOWN_LENGTH_MAX else _query)(wire_type, query)


def _query(wire_type: Any, query: str) -> Any:
    if len(query) > QUERY_LENGTH_MAX:
        raise InvalidInput(f"the query is longer than {QUERY_LENGTH_MAX} characters")
    try:
        pairs = parse_qsl(
            query,
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=QUERY_NAMES_MAX,
        )
    except ValueError as error:
        raise InvalidInput("the query is not UTF-8, or has too many names") from error
    return codec.typed_query(wire_type, pairs)


# Frozen, so that one reading serves all who ask the same.
_short_query: Final = lru_cache(QUERIES_KNOWN_MAX)(_query)


def _check_path(path: Mapping[str, str]) -> None:
    for name, value in path.items():
        try:
            text(value)
        except Fault as fault:
            raise InvalidInput(fault.message, field=name) from fault


def _repeatable(incoming: Incoming, key_id: str, tree: dict[str, Any] | None) -> Request | None:
    """The request as idempotency sees it, when it came with a key; the body's goes first."""
    if tree is None or not incoming.endpoint.keeps_answers:
        return None
    key = tree.get("idempotency_key")
    if key is None:
        key = incoming.headers.get("idempotency-key")
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX or "\0" in key:
        raise InvalidInput(
            f"must have 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} characters", field="idempotency_key"
        )
    asked = {name: value for name, value in tree.items() if name != "idempotency_key"}
    spelled = f"{incoming.endpoint.method} {incoming.raw_path}\n".encode() + codec.canonical(asked)
    return Request(
        key_id=key_id,
        idempotency_key=key,
        request_hash=hashlib.sha256(spelled).digest(),
    )
