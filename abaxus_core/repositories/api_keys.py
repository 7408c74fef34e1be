"""API keys: a table both modes share; every reader names the mode it may see."""

from datetime import datetime

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries

_sql = queries("api_keys")
_insert = _sql.exec("insert")
_find_by_hash = _sql.maybe("find_by_hash")
_get = _sql.maybe("get")
_newest = _sql.many("newest")
_replace_secret = _sql.maybe("replace_secret")
_revoke = _sql.maybe("revoke")

# Greater than any key id: "key_" and a lower-case ULID.
_AFTER_EVERY_ID = "key~"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret; `prefix` is the beginning that people recognise it by."""

    id: str
    name: str
    mode: str
    scopes: tuple[str, ...]
    prefix: str
    created_at: datetime
    revoked_at: datetime | None = None


class Bearer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key was shown, and what it may do."""

    key_id: str
    mode: str
    scopes: frozenset[str]


async def insert(conn: Connection, key: ApiKey, key_hash: bytes) -> None:
    await _insert(
        conn,
        key.id,
        key.name,
        key.mode,
        list(key.scopes),
        key.prefix,
        key_hash,
        key.created_at,
    )


async def find_by_hash(conn: Connection, key_hash: bytes) -> Bearer | None:
    """None when there is no such key, or it is revoked."""
    row = await _find_by_hash(conn, key_hash)
    if row is None:
        return None
    return Bearer(key_id=row["key_id"], mode=row["mode"], scopes=frozenset(row["scopes"]))


async def get(conn: Connection, key_id: str, *, mode: str) -> ApiKey | None:
    row = await _get(conn, key_id, mode)
    return None if row is None else _key(row)


async def newest(
    conn: Connection, *, mode: str, before_id: str | None, rows_max: int
) -> list[ApiKey]:
    """Newest first, those before `before_id`."""
    return [_key(row) for row in await _newest(conn, mode, before_id or _AFTER_EVERY_ID, rows_max)]


async def replace_secret(
    conn: Connection, key_id: str, *, mode: str, prefix: str, key_hash: bytes
) -> ApiKey | None:
    """None when there is no such key in the mode, or it is revoked."""
    row = await _replace_secret(conn, key_id, mode, prefix, key_hash)
    return None if row is None else _key(row)


async def revoke(conn: Connection, key_id: str, *, mode: str, at: datetime) -> ApiKey | None:
    """None when there is no such key in the mode, or it is revoked already."""
    row = await _revoke(conn, key_id, mode, at)
    return None if row is None else _key(row)


def _key(row: Record) -> ApiKey:
    return ApiKey(
        id=row["key_id"],
        name=row["name"],
        mode=row["mode"],
        scopes=tuple(row["scopes"]),
        prefix=row["prefix"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
    )
