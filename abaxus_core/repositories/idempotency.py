"""Idempotency keys of callers: their requests, answers and leases."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("idempotency")
_try_lock = _sql.one("try_lock")
_find = _sql.maybe("find")
_keep = _sql.exec("keep")
_lease = _sql.exec("lease")
_settle = _sql.exec("settle")
_release = _sql.exec("release")
_prune = _sql.exec("prune")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks (`key_id`), under which key, for what (`request_hash`)."""

    key_id: str
    idempotency_key: str
    request_hash: bytes


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered; `replayed` when it was answered before."""

    status: int
    body: bytes
    replayed: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored under a key: an answer, or a lease until `leased_until`.

    `entitled` are the ids of the customers whose entitlements changed with the answer.
    """

    request_hash: bytes
    reply: Reply | None
    leased_until: datetime | None
    entitled: tuple[str, ...]


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    lease_id: UUID
    leased_until: datetime


async def try_lock(conn: Connection, request: Request) -> bool:
    """Whether this transaction now is the only one under way for the key."""
    row = await _try_lock(conn, request.key_id, request.idempotency_key)
    return bool(row["locked"])


async def find(conn: Connection, request: Request) -> Known | None:
    row = await _find(conn, request.key_id, request.idempotency_key)
    if row is None:
        return None
    answered = row["status"] is not None
    return Known(
        request_hash=row["request_hash"],
        reply=Reply(status=row["status"], body=row["body"], replayed=True) if answered else None,
        leased_until=row["leased_until"],
        entitled=tuple(row["entitled"]),
    )


async def keep(
    conn: Connection,
    request: Request,
    reply: Reply,
    at: datetime,
    *,
    entitled: Collection[str],
) -> None:
    await _keep(
        conn,
        request.key_id,
        request.idempotency_key,
        request.request_hash,
        reply.status,
        reply.body,
        at,
        sorted(entitled),
    )


async def lease(conn: Connection, request: Request, lease: Lease, at: datetime) -> None:
    await _lease(
        conn,
        request.key_id,
        request.idempotency_key,
        request.request_hash,
        lease.lease_id,
        lease.leased_until,
        at,
    )


async def settle(conn: Connection, request: Request, lease: Lease, reply: Reply) -> None:
    await _settle(
        conn,
        request.key_id,
        request.idempotency_key,
        lease.lease_id,
        reply.status,
        reply.body,
    )


async def release(conn: Connection, request: Request, lease: Lease) -> None:
    await _release(conn, request.key_id, request.idempotency_key, lease.lease_id)


async def prune(conn: Connection, *, created_before: datetime, rows_max: int) -> int:
    """How many were deleted."""
    return await _prune(conn, created_before, rows_max)
