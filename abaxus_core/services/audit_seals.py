"""Sealing the audit log: what waits goes into the chain, apart from whoever writes entries."""

from typing import Final

import structlog

from abaxus_core.domain import audit_seals as domain
from abaxus_core.domain.instants import microseconds
from abaxus_core.repositories import audit_seals as repository
from abaxus_core.services.work import SYSTEM, Context, Work, perform

SEAL_ENTRIES_MAX: Final = 1_000
SEALS_PER_JOB_MAX: Final = 1_000

_log = structlog.get_logger("abaxus.audit")


async def seal(context: Context) -> None:
    """Seal what waits, a seal a transaction, and log the head, for a log store to hold on to."""
    try:
        for _ in range(SEALS_PER_JOB_MAX):
            if not await perform(context, SYSTEM, seal_next):
                break
    except repository.AnotherSealed:
        _log.info("audit.overtaken", mode=context.mode)
    async with context.database.connection() as conn:
        head = await repository.head(conn)
    if head is not None:
        _log.info(
            "audit.sealed", mode=context.mode, seal_no=head.seal_no, seal_hash=head.hash.hex()
        )


async def seal_next(work: Work) -> bool:
    """Whether entries waited: the first SEAL_ENTRIES_MAX are sealed then.

    Raises AnotherSealed where another sealer was faster; the transaction has to end with it.
    """
    entries = await repository.take_unsealed(work.conn, SEAL_ENTRIES_MAX)
    if not entries:
        return False
    head = await repository.head(work.conn)
    new = domain.seal_after(head, entries, microseconds(work.now))
    await repository.insert(work.conn, new, work.now)
    return True
