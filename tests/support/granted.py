"""What a customer is granted, worked out another way: life by life at one instant, raw events."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.entitlements import Combined, Entitlement, Grant, LimitEntitlement, combine
from abaxus_core.domain.lives import current_period, life_of, status_at, terms_at
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import Period
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import entitlements, events, metrics, subscriptions
from abaxus_core.repositories.subscriptions import Paced

HELD_MAX = 1_000


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
    known = await metrics.find(conn, {key for one in granted if (key := _metric_key(one))})
    keys = sorted({one.grant.entitlement.feature_key for one in granted})
    return [
        await _combined(conn, key, granted, known)
        for key in (keys if feature_keys is None else feature_keys)
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


def _metric_key(granted: _Granted) -> str | None:
    entitlement = granted.grant.entitlement
    return entitlement.metric_key if isinstance(entitlement, LimitEntitlement) else None


async def _combined(
    conn: Connection, feature_key: str, granted: Sequence[_Granted], known: dict[str, Metric]
) -> Combined:
    mine = [one for one in granted if one.grant.entitlement.feature_key == feature_key]
    counted = set(_counted(mine, known))
    with exact():
        used = sum([await _used(conn, *each) for each in counted], ZERO)
    return combine(feature_key, [one.grant for one in mine], used)


def _counted(
    granted: Sequence[_Granted], known: dict[str, Metric]
) -> Iterator[tuple[Metric, int, Period]]:
    for one in granted:
        key = _metric_key(one)
        if key is not None:
            yield known[key], one.customer_no, one.period


async def _used(conn: Connection, metric: Metric, customer_no: int, period: Period) -> Decimal:
    window = events.window_of(metric, customer_no, start=period.start, end=period.end)
    (found,) = await events.aggregate(conn, [window])
    return found.value
