"""Subscriptions: a customer on a pinned plan version, in one currency, each metric priced once."""

from datetime import datetime

import msgspec

from abaxus_core.domain import plans
from abaxus_core.domain.customers import Customer, check_currency
from abaxus_core.domain.plans import PlanVersion
from abaxus_core.domain.subscriptions import Subscription, check_life
from abaxus_core.errors import Conflict, InvariantBroken, NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import customers, price_plans
from abaxus_core.repositories import subscriptions as repository
from abaxus_core.repositories.subscriptions import Paced, Pricing
from abaxus_core.services import audit
from abaxus_core.services.customers import no_such_customer
from abaxus_core.services.work import Work


class NewSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """`plan_version` None: the one that is active when it starts, or now if that is later."""

    customer_id: str
    plan_id: str
    plan_version: int | None = None
    start_at: datetime
    end_at: datetime | None = None


async def create(work: Work, new: NewSubscription) -> Paced:
    """The new subscription; the customer's first one fixes its currency.

    Holds the customer against changes and the plan version against deprecation. Raises
    CUSTOMER_NOT_FOUND, PLAN_NOT_FOUND, PLAN_VERSION_NOT_FOUND, PLAN_VERSION_DEPRECATED,
    CURRENCY_MISMATCH, METRIC_ALREADY_PRICED.
    """
    check_life(new.start_at, new.end_at)
    customer = await customers.lock(work.conn, new.customer_id)
    if customer is None:
        raise no_such_customer(new.customer_id)
    version = await subscribable_version(work, new.plan_id, new.plan_version, starting=new.start_at)
    await _fix_currency(work.conn, customer, version)
    subscription = Subscription(
        id=work.ids.new("sub"),
        customer_no=customer.customer_no,
        customer_id=customer.id,
        plan_id=version.plan_id,
        plan_version=version.version,
        start_at=new.start_at,
        end_at=new.end_at,
        created_at=work.now,
    )
    await repository.insert(work.conn, subscription)
    await _price_metrics(work.conn, subscription, plans.metric_keys_of(version.charges))
    await _record(work, subscription)
    work.entitled.add(customer.id)
    return Paced(subscription=subscription, cadence=version.cadence)


async def get(conn: Connection, subscription_id: str) -> Paced:
    """Raises SUBSCRIPTION_NOT_FOUND."""
    paced = await repository.get(conn, subscription_id)
    if paced is None:
        raise no_such_subscription(subscription_id)
    return paced


def no_such_subscription(subscription_id: str) -> NotFound:
    return NotFound(
        f"there is no subscription {subscription_id}",
        code="SUBSCRIPTION_NOT_FOUND",
        field="subscription_id",
    )


async def subscribable_version(
    work: Work, plan_id: str, plan_version: int | None, *, starting: datetime
) -> PlanVersion:
    """The version, held against deprecation; None: the one active at `starting`, or now if later.

    Raises PLAN_NOT_FOUND, PLAN_VERSION_NOT_FOUND, PLAN_VERSION_DEPRECATED.
    """
    number = plan_version
    if number is None:
        number = await _active_version(work, plan_id, at=max(starting, work.now))
    version = await price_plans.hold_version(work.conn, plan_id, number)
    if version is None:
        raise await _no_version(work, plan_id, number)
    # Where the deprecation was committed while this waited for the row, it bears a later instant.
    plans.check_subscribable(version, max(work.now, version.deprecated_at or work.now))
    return version


async def _active_version(work: Work, plan_id: str, *, at: datetime) -> int:
    placed = await price_plans.get_current(work.conn, plan_id, now=at)
    if placed is None:
        raise _no_such_plan(plan_id)
    if placed.active_version is None:
        plans.check_subscribable(placed.version, work.now)
        raise NotFound(
            f"no version of price plan {plan_id} is in effect then",
            code="PLAN_VERSION_NOT_FOUND",
            field="plan_id",
        )
    return placed.active_version


async def _no_version(work: Work, plan_id: str, version: int) -> NotFound:
    if await price_plans.get_current(work.conn, plan_id, now=work.now) is None:
        return _no_such_plan(plan_id)
    return NotFound(
        f"price plan {plan_id} has no version {version}",
        code="PLAN_VERSION_NOT_FOUND",
        field="plan_version",
    )


async def _fix_currency(conn: Connection, customer: Customer, version: PlanVersion) -> None:
    check_currency(customer, version.currency)
    if not await customers.fix_currency(conn, customer.customer_no, version.currency):
        raise InvariantBroken(f"customer {customer.id} changed currency under its lock")


async def _price_metrics(
    conn: Connection, subscription: Subscription, metric_keys: frozenset[str]
) -> None:
    pricing = Pricing(
        metric_keys=metric_keys, start_at=subscription.start_at, end_at=subscription.end_at
    )
    # The customer's lock makes this check exact; the constraint holds even without it.
    clash = await repository.priced_elsewhere(conn, pricing, subscription.customer_no)
    if clash is not None:
        raise Conflict(
            f"subscription {clash.subscription_id} of customer {subscription.customer_id} prices "
            f"metric {clash.metric_key} in that time",
            code="METRIC_ALREADY_PRICED",
            field="plan_id",
            details=msgspec.structs.asdict(clash),
        )
    await repository.price_metrics(conn, subscription, [pricing])


async def _record(work: Work, subscription: Subscription) -> None:
    await audit.record(
        work,
        action="subscription.created",
        object_type="subscription",
        object_id=subscription.id,
        data={
            "customer_id": subscription.customer_id,
            "plan_id": subscription.plan_id,
            "plan_version": subscription.plan_version,
        },
    )


def _no_such_plan(plan_id: str) -> NotFound:
    return NotFound(f"there is no price plan {plan_id}", code="PLAN_NOT_FOUND", field="plan_id")
