"""Calculations: a customer's lines as they stood, kept for a day."""

from datetime import datetime

import msgspec

from abaxus_core.domain.invoices import Line
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("calculations")
_insert = _sql.exec("insert")
_get = _sql.maybe("get")
_delete_expired = _sql.exec("delete_expired")


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An element of `line_items`. A digest, which may outgrow a JSON integer, is text beside it."""

    line: Line
    digest: str | None


_lines = msgspec.json.Decoder(tuple[_Kept, ...])


class Calculation(msgspec.Struct, frozen=True, kw_only=True):
    """Lines for [period_start, period_end) as of the customer's invoice `customer_sequence`, after
    `amendments_applied` to its subscriptions.

    `currency` is None for a customer who never subscribed; then there are no lines.
    """

    id: str
    customer_no: int
    customer_sequence: int
    amendments_applied: int
    period_start: datetime
    period_end: datetime
    currency: str | None
    total_minor: int
    lines: tuple[Line, ...]
    created_at: datetime
    expires_at: datetime


async def insert(conn: Connection, calculation: Calculation) -> None:
    await _insert(
        conn,
        calculation.id,
        calculation.customer_no,
        calculation.customer_sequence,
        calculation.period_start,
        calculation.period_end,
        calculation.currency,
        calculation.total_minor,
        msgspec.json.encode([_kept(line) for line in calculation.lines]).decode(),
        calculation.created_at,
        calculation.expires_at,
        calculation.amendments_applied,
    )


async def get(conn: Connection, calculation_id: str) -> Calculation | None:
    row = await _get(conn, calculation_id)
    if row is None:
        return None
    return Calculation(
        id=row["calculation_id"],
        customer_no=row["customer_no"],
        customer_sequence=row["customer_sequence"],
        amendments_applied=row["amendments_applied"],
        period_start=row["period_start"],
        period_end=row["period_end"],
        currency=row["currency"],
        total_minor=int(row["total_minor"]),
        lines=tuple(_line(kept) for kept in _lines.decode(row["line_items"])),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )


async def delete_expired(conn: Connection, *, expired_before: datetime, rows_max: int) -> int:
    """Return how many calculations were deleted, at most `rows_max`."""
    return await _delete_expired(conn, expired_before, rows_max)


def _kept(line: Line) -> _Kept:
    return _Kept(
        line=msgspec.structs.replace(line, digest=None),
        digest=None if line.digest is None else str(line.digest),
    )


def _line(kept: _Kept) -> Line:
    if kept.digest is None:
        return kept.line
    return msgspec.structs.replace(kept.line, digest=int(kept.digest))
