"""Entitlements over HTTP: all of a customer's, and the check of one."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

import msgspec

from abaxus_core.domain.entitlements import Combined, EntitlementType
from abaxus_core.http import codec
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.texts import Key
from abaxus_core.services.entitlements import checks

_OWN_FIELDS: Mapping[EntitlementType | None, tuple[str, ...]] = MappingProxyType(
    {
        "limit": ("metric_key", "limit", "current_usage", "remaining", "exceeded"),
        "custom": ("value",),
    }
)


class OfCustomer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: codec.CallerId


class OfFeature(OfCustomer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    feature_key: Key


class Entitlement(msgspec.Struct, frozen=True, kw_only=True):
    """`type` is null where nobody grants the feature.

    A limit has `metric_key`, `limit` and `remaining` (null: unlimited), `current_usage` (in the
    current billing period) and `exceeded`; a custom one has `value`. `source_plan` stands beside
    `source_plans` when there is exactly one.
    """

    feature_key: str
    type: EntitlementType | None
    granted: bool
    source_plans: tuple[str, ...]
    source_plan: str | msgspec.UnsetType = msgspec.UNSET
    value: str | msgspec.UnsetType = msgspec.UNSET
    metric_key: str | msgspec.UnsetType = msgspec.UNSET
    limit: Decimal | msgspec.UnsetType | None = msgspec.UNSET
    current_usage: Decimal | msgspec.UnsetType = msgspec.UNSET
    remaining: Decimal | msgspec.UnsetType | None = msgspec.UNSET
    exceeded: bool | msgspec.UnsetType = msgspec.UNSET


class CheckedEntitlement(Entitlement, frozen=True, kw_only=True):
    """`as_of`: the instant that grant and usage are told for."""

    customer_id: str
    as_of: datetime


class Entitlements(msgspec.Struct, frozen=True, kw_only=True):
    customer_id: str
    resolved_at: datetime
    entitlements: list[Entitlement]


async def resolve(call: Call[None, OfCustomer]) -> Answer:
    told = await checks.resolve(call.context, call.query.customer_id)
    return answer(
        200,
        Entitlements(
            customer_id=call.query.customer_id,
            resolved_at=told.as_of,
            entitlements=[_shown(one) for one in told.combined],
        ),
    )


async def check(call: Call[None, OfFeature]) -> Answer:
    query = call.query
    told = await checks.check(call.context, query.customer_id, (query.feature_key,))
    shown = msgspec.structs.asdict(_shown(told.combined[0]))
    return answer(200, CheckedEntitlement(**shown, customer_id=query.customer_id, as_of=told.as_of))


def _shown(combined: Combined) -> Entitlement:
    plans = combined.source_plans
    shown = Entitlement(
        feature_key=combined.feature_key,
        type=combined.type,
        granted=combined.granted,
        source_plans=plans,
        source_plan=plans[0] if len(plans) == 1 else msgspec.UNSET,
    )
    own = {name: getattr(combined, name) for name in _OWN_FIELDS.get(combined.type, ())}
    return msgspec.structs.replace(shown, **own)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/entitlements",
        handler=resolve,
        scope="entitlements",
        query=OfCustomer,
        answers={200: Entitlements},
        errors=("CUSTOMER_NOT_FOUND",),
        summary="Everything that a customer's subscriptions grant now",
        tag="Entitlements",
    ),
    Endpoint(
        method="GET",
        path="/v1/entitlements/check",
        handler=check,
        scope="entitlements",
        query=OfFeature,
        answers={200: CheckedEntitlement},
        errors=("CUSTOMER_NOT_FOUND",),
        summary="May this customer use this feature now, and how much is left",
        tag="Entitlements",
    ),
)
