"""Reservations and their tallies. Whoever decides by a tally or changes it has it locked."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeAlias

import asyncpg
import msgspec

from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.reservations import Reservation, Tally
from abaxus_core.errors import IdempotencyMismatch
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries
from abaxus_core.repositories.constraints import violated

_sql = queries("reservations")
_make_tally = _sql.exec("make_tally")
_lock_tally = _sql.maybe("lock_tally")
_lock_tally_of = _sql.maybe("lock_tally_of")
_expire = _sql.one("expire")
_insert = _sql.exec("insert")
_get = _sql.maybe("get")
_held = _sql.many("held")
_settle = _sql.exec("settle")
_next_run_out = _sql.maybe("next_run_out")
_delete_settled = _sql.exec("delete_settled")

Place: TypeAlias = tuple[str, datetime, str]
"""Where a list of what is held goes on: feature, end, and id."""

# What has run out beyond this of one feature is left to whoever asks next.
EXPIRED_AT_ONCE_MAX: Final = 10_000


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """A tally that is this transaction's alone until it ends."""

    customer_no: int
    feature_key: str
    tally: Tally


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How a reservation ends; `counted` of it goes on counting until then."""

    status: str
    at: datetime
    committed_quantity: Decimal | None = None
    event_id: str | None = None
    counted: Decimal = ZERO
    counted_until: datetime | None = None


async def make_tally(conn: Connection, customer_id: str, feature_key: str) -> None:
    """Make the tally of a customer's feature, unless it is there."""
    await _make_tally(conn, customer_id, feature_key)


async def lock_tally(conn: Connection, customer_id: str, feature_key: str) -> Locked | None:
    """The tally of a customer's feature, held; None where nothing was ever reserved of it."""
    return _locked(await _lock_tally(conn, customer_id, feature_key))


async def lock_tally_of(conn: Connection, reservation_id: str) -> Locked | None:
    """The tally that a reservation is in, held; None where there is no such reservation."""
    return _locked(await _lock_tally_of(conn, reservation_id))


async def expire(conn: Connection, locked: Locked, at: datetime) -> Tally:
    """End what has run out; return what is left of the tally."""
    row = await _expire(conn, locked.customer_no, locked.feature_key, at, EXPIRED_AT_ONCE_MAX)
    with exact():
        held = locked.tally.held - row["quantity"]
    return msgspec.structs.replace(locked.tally, held=held)


async def insert(conn: Connection, reservation: Reservation) -> None:
    """Store one that is held, and count it."""
    await _insert(
        conn,
        reservation.id,
        reservation.customer_no,
        reservation.feature_key,
        reservation.metric_nos,
        reservation.quantity,
        reservation.counts_from,
        reservation.expires_at,
        reservation.created_at,
    )


async def get(conn: Connection, reservation_id: str) -> Reservation | None:
    row = await _get(conn, reservation_id)
    return None if row is None else _reservation(row)


async def held(
    conn: Connection,
    customer_no: int,
    *,
    at: datetime,
    feature_key: str | None,
    after: Place | None,
    rows_max: int,
) -> list[Reservation]:
    """What is held at that instant, of one feature or (None) of all, past a place in the order."""
    feature_after, expires_after, id_after = after or (None, None, None)
    rows = await _held(
        conn, customer_no, at, feature_key, feature_after, expires_after, id_after, rows_max
    )
    return [_reservation(row) for row in rows]


async def settle(conn: Connection, reservation_id: str, settlement: Settlement) -> bool:
    """Whether it was held, and has ended now. Raises IDEMPOTENCY_KEY_REUSED when the event
    committed another one."""
    try:
        changed = await _settle(
            conn,
            reservation_id,
            settlement.status,
            settlement.committed_quantity,
            settlement.event_id,
            settlement.at,
            settlement.counted,
            settlement.counted_until,
        )
    except asyncpg.UniqueViolationError as error:
        if violated(error) != "reservations_event_once":
            raise
        raise IdempotencyMismatch(
            "another reservation was committed with this event", field="idempotency_key"
        ) from error
    return changed > 0


async def next_run_out(conn: Connection, at: datetime) -> str | None:
    """The id of one that has run out and that nobody has ended yet."""
    row = await _next_run_out(conn, at)
    return None if row is None else row["reservation_id"]


async def delete_settled(conn: Connection, *, settled_before: datetime, rows_max: int) -> int:
    """Return how many were deleted, at most `rows_max`."""
    return await _delete_settled(conn, settled_before, rows_max)


def _locked(row: Record | None) -> Locked | None:
    if row is None:
        return None
    return Locked(
        customer_no=row["customer_no"],
        feature_key=row["feature_key"],
        tally=Tally(
            held=row["held"],
            committed=row["committed"],
            committed_until=row["committed_until"],
            decided_at=row["decided_at"],
        ),
    )


def _reservation(row: Record) -> Reservation:
    return Reservation(
        id=row["reservation_id"],
        customer_no=row["customer_no"],
        customer_id=row["customer_id"],
        feature_key=row["feature_key"],
        metric_nos=_numbers(row["metric_nos"]),
        counting_nos=_numbers(row["counting_nos"]),
        quantity=row["quantity"],
        status=row["status"],
        committed_quantity=row["committed_quantity"],
        event_id=row["event_id"],
        counts_from=row["counts_from"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
    )


def _numbers(given: Collection[int]) -> tuple[int, ...]:
    return tuple(given)
