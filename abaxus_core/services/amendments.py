"""Amendments: asked for, applied when due, in order, once; cancelled while they wait.

What is due is applied in the request that asks for it, before its customer is invoiced, and by
workers; reads honour it by time until then. A subscription is held while it is amended, and an
invoice that was rated by another life is refused (docs/amendments.md).
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from abaxus_core.domain import amendments as domain
from abaxus_core.domain.amendments import Amendment, AmendmentType
from abaxus_core.domain.lives import CannotApply, Life, amended, current_period, life_of, spans
from abaxus_core.domain.periods import Cadence, period_at
from abaxus_core.domain.plans import PlanVersion, metric_keys_of
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.errors import Conflict, IllegalTransition, InvariantBroken, NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import amendments as repository
from abaxus_core.repositories import billing
from abaxus_core.repositories import subscriptions as subscription_rows
from abaxus_core.repositories.subscriptions import Paced, Pricing
from abaxus_core.services import audit
from abaxus_core.services.subscriptions import no_such_subscription, subscribable_version
from abaxus_core.services.work import SYSTEM, Context, Work, perform

IMMEDIATE = "immediate"
END_OF_PERIOD = "end_of_period"
PENDING_MAX = 100
APPLIED_PER_JOB_MAX = 10_000


class NewAmendment(msgspec.Struct, frozen=True, kw_only=True):
    """`effective_at` is None where `effective` is immediate or end_of_period."""

    subscription_id: str
    type: AmendmentType
    effective: str
    effective_at: datetime | None = None
    plan_id: str | None = None
    plan_version: int | None = None
    prorate: bool = False
    resume_at: datetime | None = None
    end_at: datetime | None = None
    reason: str | None = None


async def create(work: Work, new: NewAmendment) -> Amendment:
    """The new amendment, applied when it is due at once.

    Raises SUBSCRIPTION_NOT_FOUND; INVALID_STATE for what makes no sense when it would take effect;
    for a plan change what subscribing to it raises, and INVALID_STATE for another billing period.
    """
    paced = await _held(work, new.subscription_id)
    amendment = await _amendment(work, paced, new)
    domain.check_times(amendment, work.now)
    _check_applicable(paced.subscription, amendment)
    await repository.insert(work.conn, amendment)
    await _record(work, "amendment.created", amendment)
    work.entitled.add(paced.subscription.customer_id)
    if amendment.effective_at <= work.now:
        await _apply(work, paced, life_of(paced.subscription), amendment)
    return await get(work.conn, new.subscription_id, amendment.id)


async def get(conn: Connection, subscription_id: str, amendment_id: str) -> Amendment:
    """Raises AMENDMENT_NOT_FOUND."""
    amendment = await repository.get(conn, subscription_id, amendment_id)
    if amendment is None:
        raise NotFound(
            f"subscription {subscription_id} has no amendment {amendment_id}",
            code="AMENDMENT_NOT_FOUND",
        )
    return amendment


async def cancel(work: Work, subscription_id: str, amendment_id: str) -> Amendment:
    """Raises SUBSCRIPTION_NOT_FOUND, AMENDMENT_NOT_FOUND; INVALID_STATE unless it is pending."""
    paced = await _held(work, subscription_id)
    amendment = await get(work.conn, subscription_id, amendment_id)
    domain.check_cancellable(amendment)
    if not await repository.cancel(work.conn, amendment_id):
        raise InvariantBroken("an amendment is cancelled while its subscription is held")
    await _record(work, "amendment.cancelled", amendment)
    work.entitled.add(paced.subscription.customer_id)
    return await get(work.conn, subscription_id, amendment_id)


async def apply_due_of_customers(work: Work, customer_nos: Sequence[int]) -> None:
    """Apply what is due by now, before these are rated."""
    for subscription_id in await repository.due_of_customers(work.conn, customer_nos, work.now):
        await _held(work, subscription_id)


async def apply_due(context: Context) -> None:
    """Apply what is due, a subscription in each transaction; what others hold they apply."""

    async def step(work: Work) -> bool:
        subscription_id = await repository.next_due(work.conn, work.now)
        if subscription_id is not None:
            await _held(work, subscription_id)
        return subscription_id is not None

    for _ in range(APPLIED_PER_JOB_MAX):
        if not await perform(context, SYSTEM, step):
            return


async def _held(work: Work, subscription_id: str) -> Paced:
    """The subscription, held, with everything applied that is due."""
    paced = await subscription_rows.lock(work.conn, subscription_id)
    if paced is None:
        raise no_such_subscription(subscription_id)
    life = life_of(paced.subscription)
    due = [one for one in _pending(paced.subscription) if one.effective_at <= work.now]
    for amendment in due:
        life = await _apply_or_fail(work, paced, life, amendment)
    if not due:
        return paced
    work.entitled.add(paced.subscription.customer_id)
    renewed = await subscription_rows.get(work.conn, subscription_id)
    assert renewed is not None, "a subscription is never deleted"
    return renewed


def _pending(subscription: Subscription) -> list[Amendment]:
    return [one for one in subscription.amendments if one.status == "pending"]


async def _amendment(work: Work, paced: Paced, new: NewAmendment) -> Amendment:
    if len(_pending(paced.subscription)) >= PENDING_MAX:
        raise Conflict(f"at most {PENDING_MAX} amendments may be pending", code="INVALID_STATE")
    effective_at = _effective_at(work, paced, new)
    version = await _version(work, paced, new, effective_at)
    return Amendment(
        id=work.ids.new("amd"),
        subscription_id=new.subscription_id,
        type=new.type,
        effective=new.effective,
        effective_at=effective_at,
        plan_id=new.plan_id,
        plan_version=None if version is None else version.version,
        prorate=new.prorate,
        resume_at=new.resume_at,
        end_at=new.end_at,
        reason=new.reason,
        created_at=work.now,
    )


def _effective_at(work: Work, paced: Paced, new: NewAmendment) -> datetime:
    if new.effective_at is not None:
        return new.effective_at
    if new.effective == IMMEDIATE:
        return work.now
    period = current_period(life_of(paced.subscription), paced.cadence, work.now)
    if period is None:
        raise IllegalTransition("the subscription is in no billing period now")
    return period.end


async def _version(
    work: Work, paced: Paced, new: NewAmendment, effective_at: datetime
) -> PlanVersion | None:
    if new.plan_id is None:
        return None
    version = await subscribable_version(work, new.plan_id, new.plan_version, starting=effective_at)
    currency = await _currency(work.conn, paced.subscription)
    if version.currency != currency:
        raise Conflict(
            f"the plan is in {version.currency}, the subscription in {currency}",
            code="CURRENCY_MISMATCH",
            field="plan_id",
        )
    if version.cadence != paced.cadence:
        raise IllegalTransition(
            "the plan has another billing period; let this subscription end and start another",
            field="plan_id",
        )
    return version


async def _currency(conn: Connection, subscription: Subscription) -> str:
    terms = Terms(plan_id=subscription.plan_id, plan_version=subscription.plan_version)
    return (await billing.plans(conn, [terms]))[terms].currency


def _check_applicable(subscription: Subscription, amendment: Amendment) -> None:
    """Raise INVALID_STATE for what could not be applied if nothing else were asked for."""
    life = life_of(subscription, due_by=amendment.effective_at)
    try:
        amended(life, amendment)
    except CannotApply as error:
        raise IllegalTransition(error.reason) from error


async def _apply_or_fail(work: Work, paced: Paced, life: Life, amendment: Amendment) -> Life:
    """The life after it; as it was where it cannot be applied, which is kept with the reason."""
    try:
        async with work.conn.transaction():
            return await _apply(work, paced, life, amendment)
    except CannotApply as error:
        failure = error.reason
    except Conflict as error:
        failure = error.message
    await repository.mark_failed(work.conn, amendment.id, failure)
    await _record(work, "amendment.failed", amendment, failure=failure)
    return life


async def _apply(work: Work, paced: Paced, life: Life, amendment: Amendment) -> Life:
    """Raises CannotApply, METRIC_ALREADY_PRICED."""
    after = amended(life, amendment)
    subscription = paced.subscription
    await subscription_rows.price_metrics(
        work.conn, subscription, await _pricings(work.conn, after)
    )
    number = await subscription_rows.amend(
        work.conn,
        subscription.id,
        lasts_until=after.end_at,
        effective_at=amendment.effective_at,
        reopened_from=_period_start(after, paced.cadence, amendment.effective_at),
    )
    await repository.mark_applied(work.conn, amendment.id, number=number, at=work.now)
    await _record(work, "amendment.applied", amendment)
    return after


def _period_start(life: Life, cadence: Cadence, effective_at: datetime) -> datetime:
    return period_at(life.start_at, cadence, max(effective_at, life.start_at)).start


async def _pricings(conn: Connection, life: Life) -> list[Pricing]:
    """Which metrics the life prices, and when: those of each version while it holds."""
    plans = await billing.plans(conn, {stretch.terms for stretch in life.stretches})
    return [
        Pricing(
            metric_keys=metric_keys_of(plans[stretch.terms].charges), start_at=start, end_at=end
        )
        for stretch, start, end in spans(life)
    ]


async def _record(
    work: Work, action: str, amendment: Amendment, *, failure: str | None = None
) -> None:
    await audit.record(
        work,
        action=action,
        object_type="subscription",
        object_id=amendment.subscription_id,
        data={
            "amendment_id": amendment.id,
            "type": amendment.type,
            "effective_at": amendment.effective_at,
            **({} if failure is None else {"failure": failure}),
        },
    )
