"""What a resource module declares for each route, and what its handler is given.

An `Endpoint` is the one description of a route: the server routes, authorises and decodes by it
and openapi.py documents it. A handler gets a `Call`, calls one service through it, and returns
its `Answer`. Reading requests off the wire is dispatch.py's; transactions are services/work.py's.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from abaxus_core.errors import InvalidInput, PaymentDeclined
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.errors import error_body, status_of
from abaxus_core.kernel.database import Connection
from abaxus_core.services import idempotency
from abaxus_core.services.idempotency import Reply, Request
from abaxus_core.services.work import Context, Work, perform

B = TypeVar("B")
Q = TypeVar("Q")
R = TypeVar("R")

Method: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]
Scope: TypeAlias = Literal["admin", "write", "read", "ingest", "entitlements"]
Covered: TypeAlias = Scope | Literal["reserving"]
"""What a route may ask of a key: see `api_keys.COVERS`."""

PATH_NUMBER_MAX = 2**31 - 1


class Call(msgspec.Struct, Generic[B, Q], frozen=True, kw_only=True):
    """One authorised, decoded request. `path` holds the parts in braces, by name.

    `covers`: what the key may do, for handlers that ask for more than the route does.
    """

    context: Context
    actor: str
    covers: frozenset[str]
    body: B
    query: Q
    path: Mapping[str, str]
    headers: Mapping[str, str]
    request_id: str
    repeatable: Request | None

    async def write(
        self,
        status: int | Callable[[R], int],
        step: Callable[[Work], Awaitable[R]],
        *,
        kept: Callable[[R], object] | None = None,
    ) -> Answer:
        """Run `step` in one transaction and answer its result (None: no body).

        `status` may depend on the result. With an idempotency key the answer is kept in the same
        transaction, and given again to whoever asks again; a raised error keeps nothing. `kept`
        makes of the result what may be stored, where that is less than what is answered.
        """
        answers: list[Answer] = []

        async def reply(work: Work) -> Reply:
            result = await step(work)
            told = status(result) if callable(status) else status
            answers.append(answer(told, result))
            return _reply(answer(told, kept(result)) if kept else answers[-1])

        async def in_work(work: Work) -> Reply | None:
            answers.clear()
            if self.repeatable is not None:
                return await idempotency.once(work, self.repeatable, reply)
            await reply(work)
            return None

        replayed = await perform(self.context, self.actor, in_work)
        if answers:
            return answers[-1]
        assert replayed is not None, "either the step has run or its answer was kept"
        return _answer(replayed)

    async def run(self, step: Callable[[], Awaitable[tuple[int, object]]]) -> Answer:
        """Run a step of several transactions (a provider call between them) and answer it.

        `step` returns status and result. With an idempotency key the answer, a decline included,
        is kept afterwards; `services.idempotency.once_apart` says what a crash in between means.
        """

        async def reply() -> Reply:
            try:
                return _reply(answer(*await step()))
            except PaymentDeclined as declined:
                body = error_body(declined, self.request_id)
                return Reply(status=status_of(declined), body=body)

        if self.repeatable is None:
            return _answer(await reply())
        return _answer(
            await idempotency.once_apart(self.context, self.actor, self.repeatable, reply)
        )

    async def read(
        self, step: Callable[[Connection], Awaitable[object]], status: int = 200
    ) -> Answer:
        """Answer the result of `step`, which reads on a connection without a transaction."""
        async with self.context.database.connection() as conn:
            return answer(status, await step(conn))

    def number(self, name: str) -> int:
        """The part of the path as a positive number. InvalidInput when it is none."""
        text = self.path[name]
        if not (text.isascii() and text.isdigit() and 0 < int(text[:11]) <= PATH_NUMBER_MAX):
            raise InvalidInput("must be a positive whole number", field=name)
        return int(text)


Handler: TypeAlias = Callable[[Call[Any, Any]], Awaitable[Answer]]
Rewrite: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Another media type that a route takes: `read` makes of the bytes what `handler` is given.

    `body` is its type, for the documentation; `read` refuses as codec.py does.
    """

    body: Any
    read: Callable[[bytes], Any]
    handler: Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route.

    `scope`: what a key needs (None: no key). `answers`: what success looks like, by status.
    `errors`: the codes of its own; those that any route can answer need no mention.
    `rewrite` turns older spellings of the decoded JSON object into today's before `body` is read;
    its values may be anything JSON can say. `keeps_answers` is False where the idempotency key
    has a meaning of its own (events). `media_type` is for what is not JSON. `example` is a
    request body that works, for the documentation. `quick` reads ordinary bodies as `body` would,
    only faster; it returns None for what it leaves alone. `forms` are the media types, beside JSON
    as such, that mean something else here.
    """

    method: Method
    path: str
    handler: Handler
    scope: Covered | None
    summary: str
    tag: str
    body: Any = None
    query: Any = None
    answers: Mapping[int, Any] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    rewrite: Rewrite | None = None
    keeps_answers: bool = True
    media_type: str = "application/json"
    example: Mapping[str, object] | None = None
    quick: Callable[[bytes], Any] | None = None
    forms: Mapping[str, Form] = field(default_factory=dict)


def _reply(given: Answer) -> Reply:
    return Reply(status=given.status, body=given.body)


def _answer(reply: Reply) -> Answer:
    headers = ((b"idempotent-replay", b"true"),) if reply.replayed else ()
    return Answer(reply.status, reply.body, headers=headers)
