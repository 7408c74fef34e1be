"""What a database needs by the clock: old rows forgotten, reservations ended, partitions made."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from abaxus_core.repositories import entitlement_changes, entitlement_keepers, events
from abaxus_core.services import calculations, idempotency, reservations
from abaxus_core.services.entitlements.keeper import FORGOTTEN_AFTER
from abaxus_core.services.usage import month_of
from abaxus_core.services.work import SYSTEM, Context, Work, perform

ROUNDS_MAX: Final = 1_000
CHANGES_AT_ONCE: Final = 5_000


async def prune(context: Context) -> None:
    """Forget what is old enough, in transactions of some thousands of rows each."""
    for forget in (idempotency.prune, calculations.prune, reservations.prune):
        await _until_none_left(context, forget)


async def expire_reservations(context: Context) -> None:
    """End reservations that have run out, those of one feature in each transaction."""
    await _until_none_left(context, reservations.expire)


async def forget_changes(context: Context) -> None:
    """Tell only of what has changed in entitlements since about a call ago; forget the rest.

    So too the processes that changes would wait for, though they are gone.
    """
    await context.database.transaction(entitlement_changes.move_on)
    await context.database.transaction(partial(entitlement_keepers.forget, age=FORGOTTEN_AFTER))

    async def forget(work: Work) -> int:
        return await entitlement_changes.forget(work.conn, rows_max=CHANGES_AT_ONCE)

    await _until_none_left(context, forget)


async def make_partitions(context: Context) -> None:
    """Make the partitions of this month and the next, before a landing has to stop for them."""
    months = [instant.date() for instant in month_of(context.clock())]
    await context.database.transaction(lambda conn: events.ensure_partitions(conn, months))


async def _until_none_left(context: Context, forget: Callable[[Work], Awaitable[int]]) -> None:
    for _ in range(ROUNDS_MAX):
        if await perform(context, SYSTEM, forget) == 0:
            return
