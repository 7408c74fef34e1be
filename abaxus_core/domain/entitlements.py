"""Entitlements: what plans grant, combined over a customer's subscriptions.

The API reports, the caller enforces: nothing here refuses usage.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from abaxus_core.domain.decimals import ZERO, check_not_negative, exact, subtract
from abaxus_core.errors import InvalidInput

EntitlementType = Literal["boolean", "limit", "custom"]

ENTITLEMENTS_MAX = 200


class BooleanEntitlement(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="boolean"
):
    feature_key: str
    value: bool


class LimitEntitlement(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="limit"):
    """`limit` None is unlimited; usage is the metric's in the current billing period."""

    feature_key: str
    limit: Decimal | None
    metric_key: str


class CustomEntitlement(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    feature_key: str
    value: str


Entitlement: TypeAlias = BooleanEntitlement | LimitEntitlement | CustomEntitlement


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One entitlement that a running subscription gives, and since when."""

    plan_id: str
    subscription_id: str
    started_at: datetime
    entitlement: Entitlement


class Combined(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a customer may do with one feature; `type` None where nobody grants it.

    `limit` None with type limit is unlimited, as then is `remaining`.
    """

    feature_key: str
    type: EntitlementType | None = None
    granted: bool = False
    value: str | None = None
    metric_key: str | None = None
    limit: Decimal | None = None
    current_usage: Decimal | None = None
    remaining: Decimal | None = None
    exceeded: bool = False
    source_plans: tuple[str, ...] = ()


def combine(feature_key: str, grants: Sequence[Grant], current_usage: Decimal) -> Combined:
    """Return what the grants of one feature amount to.

    Limits add up and unlimited wins over any sum; booleans OR; a custom value comes from the most
    recently started subscription. Where plans disagree on the type, the most recent one's counts.
    A limit of 0 is no grant: a caller who looks at `granted` alone must not let usage through.
    """
    if not grants:
        return Combined(feature_key=feature_key)
    newest = max(grants, key=lambda grant: (grant.started_at, grant.subscription_id))
    kind = type(newest.entitlement)
    alike = [grant for grant in grants if isinstance(grant.entitlement, kind)]
    sources = tuple(dict.fromkeys(grant.plan_id for grant in alike))
    match newest.entitlement:
        case BooleanEntitlement():
            return _combine_booleans(feature_key, alike)
        case LimitEntitlement():
            return _combine_limits(feature_key, alike, current_usage)
        case CustomEntitlement(value=value):
            return Combined(
                feature_key=feature_key,
                type="custom",
                granted=True,
                value=value,
                source_plans=sources,
            )


def _combine_booleans(feature_key: str, grants: Sequence[Grant]) -> Combined:
    giving = [
        grant
        for grant in grants
        if isinstance(grant.entitlement, BooleanEntitlement) and grant.entitlement.value
    ]
    return Combined(
        feature_key=feature_key,
        type="boolean",
        granted=bool(giving),
        source_plans=_plans(giving or grants),
    )


def _combine_limits(feature_key: str, grants: Sequence[Grant], used: Decimal) -> Combined:
    given = [g.entitlement for g in grants if isinstance(g.entitlement, LimitEntitlement)]
    limit = add_limits([entitlement.limit for entitlement in given])
    unused = Combined(
        feature_key=feature_key,
        type="limit",
        granted=limit is None or limit > 0,
        metric_key=given[-1].metric_key,
        limit=limit,
        source_plans=_plans(grants),
    )
    return with_usage(unused, used)


def with_usage(combined: Combined, used: Decimal) -> Combined:
    """Return what limits amount to, `combined` of no usage, with what is used of them."""
    limit = combined.limit
    return Combined(
        feature_key=combined.feature_key,
        type=combined.type,
        granted=combined.granted,
        metric_key=combined.metric_key,
        limit=limit,
        current_usage=used,
        remaining=remaining(limit, used),
        exceeded=limit is not None and used > limit,
        source_plans=combined.source_plans,
    )


def allows(combined: Combined, quantity: Decimal) -> bool:
    """Return whether so much more stays within the grant; where nothing is counted, the grant.

    >>> allows(Combined(feature_key="seats", type="boolean", granted=True), Decimal(500))
    True
    """
    if not combined.granted or combined.limit is None:
        return combined.granted
    with exact():
        return (combined.current_usage or ZERO) + quantity <= combined.limit


def _plans(grants: Sequence[Grant]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(grant.plan_id for grant in grants))


def add_limits(limits: Sequence[Decimal | None]) -> Decimal | None:
    """Return the sum of limits; None, unlimited, wins over any sum.

    >>> add_limits([Decimal(100), Decimal(50)]), add_limits([Decimal(100), None])
    (Decimal('150'), None)
    """
    with exact():
        total = ZERO
        for limit in limits:
            if limit is None:
                return None
            total += limit
        return total


def remaining(limit: Decimal | None, used: Decimal) -> Decimal | None:
    """Return what is left of a limit, never below 0; None when it is unlimited."""
    return None if limit is None else max(ZERO, subtract(limit, used))


def check_entitlements(entitlements: Sequence[Entitlement]) -> None:
    """Raise InvalidInput, with the field path within the plan, on a repeat or a negative limit."""
    if len(entitlements) > ENTITLEMENTS_MAX:
        raise InvalidInput(f"must be at most {ENTITLEMENTS_MAX}", field="entitlements")
    seen: set[str] = set()
    for place, entitlement in enumerate(entitlements):
        path = f"entitlements[{place}]"
        if entitlement.feature_key in seen:
            raise InvalidInput("appears twice", field=f"{path}.feature_key")
        seen.add(entitlement.feature_key)
        if isinstance(entitlement, LimitEntitlement) and entitlement.limit is not None:
            check_not_negative(entitlement.limit, f"{path}.limit")
