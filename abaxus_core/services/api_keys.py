"""API keys: made, listed, rotated, revoked; and what a shown key proves.

A key is `abx_live_` or `abx_test_` and 48 random hexadecimal digits. It is shown once; the table
holds only its HMAC-SHA-256 under API_MASTER_KEY, so neither a stolen dump nor a guess opens
anything, and a changed master key invalidates every key.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final

import msgspec

from abaxus_core.errors import Conflict, NotFound
from abaxus_core.kernel.database import Connection, wake_after_commit
from abaxus_core.plugin.settings import Secret
from abaxus_core.repositories import api_keys as repository
from abaxus_core.repositories.api_keys import ApiKey as ApiKey
from abaxus_core.repositories.api_keys import Bearer as Bearer
from abaxus_core.services import audit
from abaxus_core.services.work import Work

CHANGED: Final = "api_keys"
"""The topic, in the key's mode, that says a key was made, rotated or revoked."""

SECRET_BYTES: Final = 24
PREFIX_DIGITS: Final = 6

_FORM: Final = re.compile(r"abx_(live|test)_[0-9a-f]{48}")

# What each scope covers, itself included. Reserving is no scope: it goes with `entitlements`, but
# reading, which covers that, does not reserve.
COVERS: Final[Mapping[str, frozenset[str]]] = {
    "admin": frozenset({"admin", "write", "read", "ingest", "entitlements", "reserving"}),
    "write": frozenset({"write", "read", "ingest", "entitlements", "reserving"}),
    "read": frozenset({"read", "entitlements"}),
    "ingest": frozenset({"ingest"}),
    "entitlements": frozenset({"entitlements", "reserving"}),
}


def scope_for(covered: str) -> str:
    """Return the scope to ask for by name, for something that scopes cover.

    >>> scope_for("reserving"), scope_for("read")
    ('entitlements', 'read')
    """
    return "entitlements" if covered == "reserving" else covered


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made or rotated; `secret` is what the bearer shows, never to be seen again."""

    key: ApiKey
    secret: Secret


async def create(
    work: Work, *, mode: str, name: str, scopes: tuple[str, ...], master_key: Secret
) -> Issued:
    """Make a key of `mode` with `scopes`."""
    secret = _new_secret(mode)
    key = ApiKey(
        id=work.ids.new("key"),
        name=name,
        mode=mode,
        scopes=scopes,
        prefix=_prefix(secret),
        created_at=work.now,
    )
    await repository.insert(work.conn, key, _hash(secret.reveal(), master_key))
    await _changed(work, "api_key.created", key)
    return Issued(key=key, secret=secret)


async def rotate(work: Work, key_id: str, *, mode: str, master_key: Secret) -> Issued:
    """Give the key a new secret; the old one ends with this transaction.

    NotFound when there is no such key in the mode, Conflict when it is revoked.
    """
    secret = _new_secret(mode)
    key = await repository.replace_secret(
        work.conn,
        key_id,
        mode=mode,
        prefix=_prefix(secret),
        key_hash=_hash(secret.reveal(), master_key),
    )
    if key is None:
        await get(work.conn, key_id, mode=mode)
        raise Conflict("a revoked key cannot be rotated", code="INVALID_STATE")
    await _changed(work, "api_key.rotated", key)
    return Issued(key=key, secret=secret)


async def revoke(work: Work, key_id: str, *, mode: str) -> ApiKey:
    """End the key; revoking again changes nothing. NotFound when there is none in the mode."""
    key = await repository.revoke(work.conn, key_id, mode=mode, at=work.now)
    if key is None:
        return await get(work.conn, key_id, mode=mode)
    await _changed(work, "api_key.revoked", key)
    return key


async def get(conn: Connection, key_id: str, *, mode: str) -> ApiKey:
    """The key, revoked or not. NotFound when there is none in the mode."""
    key = await repository.get(conn, key_id, mode=mode)
    if key is None:
        raise NotFound("there is no such API key", code="API_KEY_NOT_FOUND")
    return key


async def newest(
    conn: Connection, *, mode: str, before_id: str | None, rows_max: int
) -> list[ApiKey]:
    """Keys of the mode, revoked ones too, newest first."""
    return await repository.newest(conn, mode=mode, before_id=before_id, rows_max=rows_max)


def mode_of(shown: str) -> str | None:
    """The mode of a key that was shown; None when it cannot be one of ours."""
    form = _FORM.fullmatch(shown)
    return None if form is None else form[1]


def digest(shown: str, master_key: Secret) -> bytes:
    """What the table would hold for the key that was shown."""
    return _hash(shown, master_key)


async def find(conn: Connection, key_hash: bytes) -> Bearer | None:
    """Whose key has this digest, while it is not revoked."""
    return await repository.find_by_hash(conn, key_hash)


async def _changed(work: Work, action: str, key: ApiKey) -> None:
    await audit.record(
        work,
        action=action,
        object_type="api_key",
        object_id=key.id,
        data={"name": key.name, "scopes": list(key.scopes), "prefix": key.prefix},
    )
    wake_after_commit(CHANGED)


def _new_secret(mode: str) -> Secret:
    return Secret(f"abx_{mode}_{secrets.token_hex(SECRET_BYTES)}")


def _prefix(secret: Secret) -> str:
    return secret.reveal()[: len("abx_live_") + PREFIX_DIGITS]


def _hash(shown: str, master_key: Secret) -> bytes:
    return hmac.digest(master_key.reveal().encode(), shown.encode(), hashlib.sha256)
