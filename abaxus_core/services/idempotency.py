"""The same request again gives the same answer: callers may retry whatever they could not hear.

The key is remembered per API key, with a hash of what was asked and the answer that was given.
Errors are not remembered: nothing happened, and the caller may correct and ask again.
Events are different: their keys are kept for ever, by the landing (product contract, section 5).
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from abaxus_core.errors import Conflict, IdempotencyMismatch
from abaxus_core.repositories import idempotency as repository
from abaxus_core.repositories.idempotency import Known, Lease
from abaxus_core.repositories.idempotency import Reply as Reply
from abaxus_core.repositories.idempotency import Request as Request
from abaxus_core.services.work import Context, Work, perform

KEPT_FOR = timedelta(days=7)
PRUNED_AT_ONCE_MAX = 5_000
# Longer than the slowest provider call may take, with its transactions before and after.
LEASE = timedelta(seconds=120)


async def once(work: Work, request: Request, step: Callable[[Work], Awaitable[Reply]]) -> Reply:
    """The reply of `step`, or the one that was kept; both in the transaction of `work`.

    A kept one says again whose entitlements it changed: the process that answered first may have
    died before the cache had heard of it.
    Raises Conflict (REQUEST_IN_PROGRESS) while another request under the key runs, and
    IdempotencyMismatch when the key was used for something else.
    """
    known = await _look_up(work, request)
    if known is not None and known.reply is not None:
        work.entitled.update(known.entitled)
        return known.reply
    if known is not None:
        raise _in_progress()
    reply = await step(work)
    await repository.keep(work.conn, request, reply, work.now, entitled=work.entitled)
    return reply


async def once_apart(
    context: Context, actor: str, request: Request, step: Callable[[], Awaitable[Reply]]
) -> Reply:
    """The reply of `step`, which runs transactions of its own, or the one that was kept.

    The key is leased first, so that no second request runs beside this one; the reply is kept
    afterwards. If the process dies in between, the lease runs out and the next request under the
    key runs `step` again: `step` must therefore be safe to repeat. (Charging is: its intent is a
    row of its own, so a repetition finds the invoice paid or its payment unresolved, never pays
    twice.)
    """
    lease = Lease(lease_id=context.ids.uuid4(), leased_until=context.clock() + LEASE)
    kept = await perform(context, actor, lambda work: _lease(work, request, lease))
    if kept is not None:
        return kept
    try:
        reply = await step()
    except BaseException:
        await perform(context, actor, lambda work: repository.release(work.conn, request, lease))
        raise
    await perform(context, actor, lambda work: repository.settle(work.conn, request, lease, reply))
    return reply


async def prune(work: Work) -> int:
    """Forget keys older than a week, some thousands at a time; how many were forgotten."""
    return await repository.prune(
        work.conn, created_before=work.now - KEPT_FOR, rows_max=PRUNED_AT_ONCE_MAX
    )


async def _lease(work: Work, request: Request, lease: Lease) -> Reply | None:
    known = await _look_up(work, request)
    if known is not None and known.reply is not None:
        return known.reply
    if known is not None and known.leased_until is not None and known.leased_until > work.now:
        raise _in_progress()
    await repository.lease(work.conn, request, lease, work.now)
    return None


async def _look_up(work: Work, request: Request) -> Known | None:
    if not await repository.try_lock(work.conn, request):
        raise _in_progress()
    known = await repository.find(work.conn, request)
    if known is not None and known.request_hash != request.request_hash:
        raise IdempotencyMismatch(
            "this idempotency key was used for another request", field="idempotency_key"
        )
    return known


def _in_progress() -> Conflict:
    return Conflict(
        "the first request with this idempotency key is still running",
        code="REQUEST_IN_PROGRESS",
        field="idempotency_key",
    )
