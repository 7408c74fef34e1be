"""API keys: a key of scope admin makes, lists, rotates and revokes keys of its own mode."""

from datetime import datetime
from typing import Annotated

import msgspec

from abaxus_core.http import codec
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import Call, Endpoint, Scope
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.kernel.database import Connection
from abaxus_core.services import api_keys
from abaxus_core.services.work import Work

NAME_LENGTH_MAX = 100
SCOPES_MAX = 5


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the key is for, and what it may do."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=SCOPES_MAX)]
    idempotency_key: codec.IdempotencyKey | None = None


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret; `prefix` is what its secret begins with."""

    id: str
    name: str
    mode: str
    scopes: list[str]
    prefix: str
    created_at: datetime
    revoked_at: datetime | None


class IssuedApiKey(ApiKey, frozen=True, kw_only=True):
    """A key just made or rotated. `key` is shown this once; a replay says null."""

    key: str | None


async def create(call: Call[NewApiKey, None]) -> Answer:
    async def step(work: Work) -> IssuedApiKey:
        return _issued(
            await api_keys.create(
                work,
                mode=call.context.mode,
                name=call.body.name,
                scopes=tuple(dict.fromkeys(call.body.scopes)),
                master_key=call.context.settings.api_master_key,
            )
        )

    return await call.write(201, step, kept=_without_secret)


async def newest(call: Call[None, Paged]) -> Answer:
    query = call.query
    before_id = read_cursor(query.cursor, tuple[str])[0] if query.cursor else None

    async def step(conn: Connection) -> Page[ApiKey]:
        keys = await api_keys.newest(
            conn, mode=call.context.mode, before_id=before_id, rows_max=query.limit + 1
        )
        return page([_shown(key) for key in keys], query.limit, lambda key: (key.id,))

    return await call.read(step)


async def rotate(call: Call[None, None]) -> Answer:
    async def step(work: Work) -> IssuedApiKey:
        return _issued(
            await api_keys.rotate(
                work,
                call.path["id"],
                mode=call.context.mode,
                master_key=call.context.settings.api_master_key,
            )
        )

    return await call.write(200, step, kept=_without_secret)


async def revoke(call: Call[None, None]) -> Answer:
    async def step(work: Work) -> ApiKey:
        return _shown(await api_keys.revoke(work, call.path["id"], mode=call.context.mode))

    return await call.write(200, step)


def _shown(key: api_keys.ApiKey) -> ApiKey:
    return ApiKey(
        id=key.id,
        name=key.name,
        mode=key.mode,
        scopes=list(key.scopes),
        prefix=key.prefix,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )


def _issued(issued: api_keys.Issued) -> IssuedApiKey:
    shown = msgspec.structs.asdict(_shown(issued.key))
    return IssuedApiKey(**shown, key=issued.secret.reveal())


def _without_secret(issued: IssuedApiKey) -> IssuedApiKey:
    return msgspec.structs.replace(issued, key=None)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/api-keys",
        handler=create,
        scope="admin",
        body=NewApiKey,
        answers={201: IssuedApiKey},
        summary="Make an API key of the caller's mode; its secret is shown once",
        tag="API keys",
    ),
    Endpoint(
        method="GET",
        path="/v1/api-keys",
        handler=newest,
        scope="admin",
        query=Paged,
        answers={200: Page[ApiKey]},
        summary="List the API keys of the caller's mode, newest first",
        tag="API keys",
    ),
    Endpoint(
        method="POST",
        path="/v1/api-keys/{id}/rotate",
        handler=rotate,
        scope="admin",
        answers={200: IssuedApiKey},
        errors=("API_KEY_NOT_FOUND", "INVALID_STATE"),
        summary="Give the key a new secret and end the old one",
        tag="API keys",
    ),
    Endpoint(
        method="DELETE",
        path="/v1/api-keys/{id}",
        handler=revoke,
        scope="admin",
        answers={200: ApiKey},
        errors=("API_KEY_NOT_FOUND",),
        summary="Revoke the key; revoking again changes nothing",
        tag="API keys",
    ),
)
