"""Verifying the audit log: the chain of its seals, seal by seal, and what is outside the chain.

Every statement is right by itself, since entries and seals are only ever added: writers and sealers
may be at work meanwhile, and no snapshot is held.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final

from abaxus_core.domain import audit_seals as domain
from abaxus_core.domain.audit_seals import Head as Head
from abaxus_core.domain.findings import Finding
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import audit_seals as repository

PAGE_MAX: Final = 1_000
BELOW_ALL: Final = -(2**63)

OnChecked = Callable[[int], None]


async def head(conn: Connection) -> Head | None:
    """The last seal, to be compared with what a log store holds; None before the first."""
    return await repository.head(conn)


async def size(conn: Connection) -> int:
    """How many entries there are to check."""
    return await repository.sealed_count(conn)


async def findings(
    conn: Connection, on_checked: OnChecked = lambda _count: None
) -> AsyncIterator[Finding]:
    """What does not hold, a seal and its entries in memory at a time.

    Up to the seal that is the last one now. `on_checked` is told of entries as they are done.
    """
    async for finding in _in_chain(conn, on_checked):
        yield finding
    async for finding in _never_sealed(conn):
        yield finding
    async for finding in _waiting_for_nothing(conn):
        yield finding
    for kind, no, copies in await repository.twins(conn, rows_max=PAGE_MAX):
        yield domain.there_twice(kind, no, copies)


async def _in_chain(conn: Connection, on_checked: OnChecked) -> AsyncIterator[Finding]:
    last = await repository.head(conn)
    last_no = 0 if last is None else last.seal_no
    link = domain.FIRST
    while seal := await repository.next_seal(conn, after_no=link.no - 1, last_no=last_no):
        entries = await repository.entries(conn, seal.audit_nos)
        found, link = domain.follow(seal, entries, link)
        for finding in found:
            yield finding
        on_checked(seal.entry_count)


async def _never_sealed(conn: Connection) -> AsyncIterator[Finding]:
    last_no = BELOW_ALL
    while runs := await repository.uncovered(conn, after_no=last_no, runs_max=PAGE_MAX):
        for first_no, last_no, audit_id in runs:
            yield domain.never_sealed(first_no, last_no, audit_id)


async def _waiting_for_nothing(conn: Connection) -> AsyncIterator[Finding]:
    last_no = BELOW_ALL
    while nos := await repository.waiting_for_nothing(conn, after_no=last_no, rows_max=PAGE_MAX):
        for last_no in nos:
            yield domain.waits_for_nothing(last_no)
