"""Seals over the audit log: entries that wait for one, the chain, and what is outside it."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from abaxus_core.domain.audit_seals import Head, Seal, SealedEntry
from abaxus_core.errors import Conflict
from abaxus_core.kernel.database import Connection, Record
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories.constraints import violated

_sql = queries("audit_seals")
_take_unsealed = _sql.many("take_unsealed")
_insert = _sql.exec("insert")
_head = _sql.maybe("head")
_sealed_count = _sql.one("sealed_count")
_next_seal = _sql.maybe("next_seal")
_entries = _sql.many("entries")
_uncovered = _sql.many("uncovered")
_waiting_for_nothing = _sql.many("waiting_for_nothing")
_twins = _sql.many("twins")


class AnotherSealed(Conflict):
    """Another sealer took the number; what this one took has to wait on."""


async def take_unsealed(conn: Connection, entries_max: int) -> list[SealedEntry]:
    """Return the first entries that wait, at most so many, which no longer do."""
    return [_entry(row) for row in await _take_unsealed(conn, entries_max)]


async def insert(conn: Connection, seal: Seal, sealed_at: datetime) -> None:
    """Store a seal. Waits for whoever stores that number; raises AnotherSealed if it does."""
    try:
        await _insert(
            conn,
            seal.no,
            seal.audit_nos,
            seal.entry_hashes,
            seal.previous_hash,
            seal.hash,
            sealed_at,
        )
    except asyncpg.UniqueViolationError as error:
        if violated(error) != "audit_seals_pkey":
            raise
        raise AnotherSealed(f"seal {seal.no} was made by another worker") from error


async def head(conn: Connection) -> Head | None:
    """Return the last seal, None before the first."""
    row = await _head(conn)
    return None if row is None else Head(seal_no=row["seal_no"], hash=row["hash"])


async def sealed_count(conn: Connection) -> int:
    """Return how many entries the seals cover."""
    count: int = (await _sealed_count(conn))["entry_count"]
    return count


async def next_seal(conn: Connection, *, after_no: int, last_no: int) -> Seal | None:
    """Return the first seal numbered above `after_no`, up to `last_no`."""
    row = await _next_seal(conn, after_no, last_no)
    return None if row is None else _seal(row)


async def entries(conn: Connection, audit_nos: Sequence[int]) -> dict[int, SealedEntry]:
    """Return the entries by number, as far as there are any."""
    return {row["audit_no"]: _entry(row) for row in await _entries(conn, audit_nos)}


async def uncovered(
    conn: Connection, *, after_no: int, runs_max: int
) -> list[tuple[int, int, str]]:
    """Return runs of entries that neither are sealed nor wait: first and last number, first id."""
    rows = await _uncovered(conn, after_no, runs_max)
    return [(row["first_no"], row["last_no"], row["audit_id"]) for row in rows]


async def waiting_for_nothing(conn: Connection, *, after_no: int, rows_max: int) -> list[int]:
    """Return numbers that wait and have no entry."""
    return [row["audit_no"] for row in await _waiting_for_nothing(conn, after_no, rows_max)]


async def twins(conn: Connection, *, rows_max: int) -> list[tuple[str, int, int]]:
    """Return what has a number that is there more than once: its kind, the number, how often."""
    return [(row["kind"], row["number"], row["copies"]) for row in await _twins(conn, rows_max)]


def _entry(row: Record) -> SealedEntry:
    return SealedEntry(
        no=row["audit_no"],
        id=row["audit_id"],
        at_us=_microseconds(row["at"]),
        actor=row["actor"],
        action=row["action"],
        object_type=row["object_type"],
        object_id=row["object_id"],
        data=row["data"],
    )


def _seal(row: Record) -> Seal:
    return Seal(
        no=row["seal_no"],
        entry_count=row["entry_count"],
        audit_nos=tuple(row["audit_nos"]),
        entry_hashes=tuple(row["entry_hashes"]),
        previous_hash=row["previous_hash"],
        hash=row["hash"],
        sealed_at_us=_microseconds(row["sealed_at"]),
    )


def _microseconds(sent: bytes) -> int:
    """An instant as PostgreSQL sends it, which may be one that Python has none for: infinity."""
    return int.from_bytes(sent, signed=True)
