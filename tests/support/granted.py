"""What a customer is granted, worked out another way: life by life at one instant, raw events."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import msgspec

from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.entitlements import Combined, Entitlement, Grant, LimitEntitlement, combine
from abaxus_core.domain.lives import current_period, life_of, status_at, terms_at
from abaxus_core.domain.periods import Period
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import entitlements, events, metrics, subscriptions
from abaxus_core.repositories.subscriptions import Paced

HELD_MAX = 1_000

# Of a metric, by a customer, in a billing period.
_Counted: TypeAlias = tuple[str, int, Period]


class _Granted(msgspec.Struct, frozen=True):
    grant: Grant
    customer_no: int
    period: Period


async def granted_to(
    conn: Connection, customer_id: str, feature_keys: Sequence[str] | None, *, now: datetime
) -> list[Combined]:
    """What these features amount to, in order; None: all that is granted, by name."""
    held = await subscriptions.page_of_customer(
        conn, customer_id, before_id="sub_~", rows_max=HELD_MAX
    )
    held.sort(key=lambda each: (each.subscription.start_at, each.subscription.id))
    granted = [one for each in held for one in await _granted(conn, each, now)]
    used = await _used(conn, granted)
    keys = sorted({one.grant.entitlement.feature_key for one in granted})
    return [
        _combined(key, granted, used) for key in (keys if feature_keys is None else feature_keys)
    ]


async def _granted(conn: Connection, paced: Paced, now: datetime) -> list[_Granted]:
    subscription = paced.subscription
    life = life_of(subscription, due_by=now)
    if status_at(life, now) != "active":
        return []
    terms = terms_at(life, now)
    period = current_period(life, paced.cadence, now)
    assert period is not None
    return [
        _Granted(_grant(paced, terms.plan_id, entitlement), subscription.customer_no, period)
        for entitlement in (await entitlements.granted(conn, {terms}))[terms]
    ]


def _grant(paced: Paced, plan_id: str, entitlement: Entitlement) -> Grant:
    return Grant(
        plan_id=plan_id,
        subscription_id=paced.subscription.id,
        started_at=paced.subscription.start_at,
        entitlement=entitlement,
    )


async def _used(conn: Connection, granted: Sequence[_Granted]) -> dict[_Counted, Decimal]:
    counted = list({each for one in granted if (each := _counted(one)) is not None})
    known = await metrics.find(conn, {metric_key for metric_key, _, _ in counted})
    windows = [
        events.window_of(known[metric_key], customer_no, start=period.start, end=period.end)
        for metric_key, customer_no, period in counted
    ]
    found = await events.aggregate(conn, windows)
    return {each: one.value for each, one in zip(counted, found, strict=True)}


def _combined(
    feature_key: str, granted: Sequence[_Granted], used: Mapping[_Counted, Decimal]
) -> Combined:
    mine = [one for one in granted if one.grant.entitlement.feature_key == feature_key]
    counted = {each for one in mine if (each := _counted(one)) is not None}
    with exact():
        current_usage = sum((used[each] for each in counted), ZERO)
    return combine(feature_key, [one.grant for one in mine], current_usage)


def _counted(granted: _Granted) -> _Counted | None:
    entitlement = granted.grant.entitlement
    if not isinstance(entitlement, LimitEntitlement):
        return None
    return entitlement.metric_key, granted.customer_no, granted.period
