"""Entitlements: what a customer's running subscriptions grant now, and how much of it is used.

Read from PostgreSQL on every call. Amendments that are due count, applied or not. Usage is what has
landed; events still in the inbox follow within the time that processing takes. Nothing here refuses
usage: the caller enforces.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.entitlements import (
    Combined,
    Entitlement,
    Grant,
    LimitEntitlement,
    combine,
)
from abaxus_core.domain.lives import Life, current_period, life_of, status_at, terms_at
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import Period
from abaxus_core.domain.reservations import Measured, Standing
from abaxus_core.errors import InvariantBroken
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import entitlements as repository
from abaxus_core.repositories import metrics, rollups
from abaxus_core.repositories.events import Window, window_of
from abaxus_core.repositories.subscriptions import Paced
from abaxus_core.services.customers import no_such_customer


class _Measure(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit counts against: a customer's usage of a metric in one billing period."""

    customer_no: int
    metric_key: str
    period: Period


class _Granted(msgspec.Struct, frozen=True, kw_only=True):
    """A grant; `measure` is None where it limits nothing."""

    grant: Grant
    measure: _Measure | None


async def resolve(conn: Connection, customer_id: str, *, now: datetime) -> list[Combined]:
    """Everything that is granted to the customer, by feature. Raises CUSTOMER_NOT_FOUND."""
    granted = await _granted(conn, customer_id, now)
    used = await _usage(conn, granted)
    keys = sorted({one.grant.entitlement.feature_key for one in granted})
    return [_combined(key, granted, used) for key in keys]


async def check(conn: Connection, customer_id: str, feature_key: str, *, now: datetime) -> Combined:
    """What is granted of one feature; `granted` is false where nobody grants it.

    Raises CUSTOMER_NOT_FOUND.
    """
    granted = await _granted(conn, customer_id, now)
    of_feature = [one for one in granted if one.grant.entitlement.feature_key == feature_key]
    return _combined(feature_key, of_feature, await _usage(conn, of_feature))


async def _granted(conn: Connection, customer_id: str, now: datetime) -> list[_Granted]:
    running = await repository.running(conn, customer_id, now)
    if running is None:
        raise no_such_customer(customer_id)
    lives = [(one, life_of(one.subscription, due_by=now)) for one in running]
    active = [(one, life) for one, life in lives if status_at(life, now) == "active"]
    by_terms = await repository.granted(conn, {terms_at(life, now) for _, life in active})
    return [
        granted
        for one, life in active
        for granted in _grants(one, life, by_terms[terms_at(life, now)], now)
    ]


def _grants(
    running: Paced, life: Life, entitlements: Sequence[Entitlement], now: datetime
) -> Iterable[_Granted]:
    subscription = running.subscription
    period = current_period(life, running.cadence, now)
    assert period is not None, "what is active is in a billing period"
    for entitlement in entitlements:
        grant = Grant(
            plan_id=terms_at(life, now).plan_id,
            subscription_id=subscription.id,
            started_at=subscription.start_at,
            entitlement=entitlement,
        )
        if isinstance(entitlement, LimitEntitlement):
            measure = _Measure(
                customer_no=subscription.customer_no,
                metric_key=entitlement.metric_key,
                period=period,
            )
            yield _Granted(grant=grant, measure=measure)
        else:
            yield _Granted(grant=grant, measure=None)


async def _usage(conn: Connection, granted: Sequence[_Granted]) -> Mapping[_Measure, Decimal]:
    measures = list(dict.fromkeys(one.measure for one in granted if one.measure is not None))
    if not measures:
        return {}
    known = await metrics.find(conn, {measure.metric_key for measure in measures})
    windows = [_window(measure, known) for measure in measures]
    found = await rollups.aggregate(conn, windows)
    return {measure: one.value for measure, one in zip(measures, found, strict=True)}


def _window(measure: _Measure, known: Mapping[str, Metric]) -> Window:
    metric = known.get(measure.metric_key)
    if metric is None:
        raise InvariantBroken(f"a plan grants metric {measure.metric_key}, which is not there")
    period = measure.period
    return window_of(metric, measure.customer_no, start=period.start, end=period.end)


def _combined(
    feature_key: str, granted: Sequence[_Granted], used: Mapping[_Measure, Decimal]
) -> Combined:
    """Several limits count the same metric and period once, different ones each."""
    of_feature = [one for one in granted if one.grant.entitlement.feature_key == feature_key]
    measures = {one.measure for one in of_feature if one.measure is not None}
    with exact():
        current_usage = sum((used[measure] for measure in measures), ZERO)
    return combine(feature_key, [one.grant for one in of_feature], current_usage)


async def standing(
    conn: Connection, customer_id: str, feature_key: str, *, now: datetime
) -> Standing:
    """What is granted of one feature, with all that its limits count. Raises CUSTOMER_NOT_FOUND."""
    granted = await _granted(conn, customer_id, now)
    of_feature = [one for one in granted if one.grant.entitlement.feature_key == feature_key]
    combined = _combined(feature_key, of_feature, await _usage(conn, of_feature))
    found = list(dict.fromkeys(one.measure for one in of_feature if one.measure is not None))
    known = await metrics.find(conn, {measure.metric_key for measure in found})
    measured = tuple(
        Measured(
            metric_no=known[one.metric_key].metric_no,
            aggregation=known[one.metric_key].aggregation,
            period=one.period,
        )
        for one in found
    )
    return Standing(combined=combined, measured=measured)
