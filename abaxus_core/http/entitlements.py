"""Entitlements over HTTP: all of a customer's, the check of one, and of many at once."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from abaxus_core.domain.decimals import check_not_negative, plain
from abaxus_core.domain.entitlement_documents import Snapshot
from abaxus_core.domain.entitlements import Combined, EntitlementType, allows
from abaxus_core.errors import InvalidInput
from abaxus_core.http import codec
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.schemas import DECIMAL_OUT
from abaxus_core.http.texts import Key
from abaxus_core.kernel.kept import Kept
from abaxus_core.services.entitlements import checks
from abaxus_core.services.entitlements.checks import Told

FEATURES_MAX: Final = 100

Number: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema=DECIMAL_OUT)]
"""A decimal that is text already: answers of the hot path are encoded as they are."""

ANSWERS_KEPT_MAX: Final = 16_384
INSTANT: Final = b'"as_of":'

_FRESH: Final = frozenset({"no-cache", "no-store", "max-age=0"})


class OfCustomer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: codec.CallerId


class OfFeature(
    OfCustomer,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    cache_hash=True,
    gc=False,
):
    """`quantity`: may so much more be used?"""

    feature_key: Key
    quantity: Decimal | None = None


class AskedFeature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`quantity`: may so much more be used?"""

    feature_key: Key
    quantity: Decimal | None = None


class AskedFeatures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: codec.CallerId
    features: Annotated[list[AskedFeature], msgspec.Meta(min_length=1, max_length=FEATURES_MAX)]


class Entitlement(msgspec.Struct, frozen=True, kw_only=True):
    """`type` is null where nobody grants the feature.

    A limit has `metric_key`, `limit` and `remaining` (null: unlimited), `current_usage` (in the
    current billing period) and `exceeded`; a custom one has `value`. `source_plan` stands beside
    `source_plans` when there is exactly one. `allowed` answers a `quantity`: whether so much more
    stays within the limit, and whether it is granted at all; where nothing is counted, the latter.
    """

    feature_key: str
    type: EntitlementType | None
    granted: bool
    source_plans: tuple[str, ...]
    source_plan: str | msgspec.UnsetType = msgspec.UNSET
    value: str | msgspec.UnsetType = msgspec.UNSET
    metric_key: str | msgspec.UnsetType = msgspec.UNSET
    limit: Number | msgspec.UnsetType | None = msgspec.UNSET
    current_usage: Number | msgspec.UnsetType = msgspec.UNSET
    remaining: Number | msgspec.UnsetType | None = msgspec.UNSET
    exceeded: bool | msgspec.UnsetType = msgspec.UNSET
    quantity: Number | msgspec.UnsetType = msgspec.UNSET
    allowed: bool | msgspec.UnsetType = msgspec.UNSET


class CheckedEntitlement(Entitlement, frozen=True, kw_only=True):
    """`as_of`, the last of all: the instant that grant and usage are told for."""

    customer_id: str
    as_of: datetime


class CheckedEntitlements(msgspec.Struct, frozen=True, kw_only=True):
    """In the order asked; `as_of`: the instant that grants and usage are told for."""

    customer_id: str
    as_of: datetime
    entitlements: list[Entitlement]


class Entitlements(msgspec.Struct, frozen=True, kw_only=True):
    customer_id: str
    resolved_at: datetime
    entitlements: list[Entitlement]


class _Answered(msgspec.Struct, frozen=True, gc=False):
    """What a snapshot came to, as JSON up to the instant, which ends every answer."""

    snapshot: Snapshot
    up_to_instant: bytes

    def tells(self, snapshot: Snapshot) -> bool:
        """Whether it is what this snapshot comes to."""
        known = self.snapshot
        return known.used is snapshot.used and known.document is snapshot.document


# Of the checks asked last.
_answers: Final = Kept[OfFeature, _Answered](ANSWERS_KEPT_MAX)


async def resolve(call: Call[None, OfCustomer]) -> Answer:
    customer_id = call.query.customer_id
    told = await checks.resolve(call.context, customer_id, fresh=_fresh(call.headers))
    return answer(
        200,
        Entitlements(
            customer_id=customer_id,
            resolved_at=told.as_of,
            entitlements=[Entitlement(**_fields(one, None)) for one in told.combined()],
        ),
    )


async def check(call: Call[None, OfFeature]) -> Answer:
    query = call.query
    _check_quantity(query.quantity, "quantity")
    told = await _checked(call, query.customer_id, (query.feature_key,))
    known = _answers.get(query)
    if known is None or not known.tells(told.snapshot):
        known = _answer_to(query, told)
        _answers.put(query, known)
    return Answer(200, known.up_to_instant + msgspec.json.encode(told.as_of) + b"}")


def _answer_to(query: OfFeature, told: Told) -> _Answered:
    fields = _fields(told.combined()[0], query.quantity)
    whole = codec.encode(
        CheckedEntitlement(customer_id=query.customer_id, as_of=told.as_of, **fields)
    )
    return _Answered(told.snapshot, whole[: whole.rindex(INSTANT) + len(INSTANT)])


async def check_many(call: Call[AskedFeatures, None]) -> Answer:
    asked = call.body
    _check_features(asked.features)
    told = await _checked(
        call, asked.customer_id, tuple(each.feature_key for each in asked.features)
    )
    return answer(
        200,
        CheckedEntitlements(
            customer_id=asked.customer_id,
            as_of=told.as_of,
            entitlements=[
                Entitlement(**_fields(one, each.quantity))
                for one, each in zip(told.combined(), asked.features, strict=True)
            ],
        ),
    )


async def _checked(call: Call[Any, Any], customer_id: str, feature_keys: tuple[str, ...]) -> Told:
    return await checks.check(call.context, customer_id, feature_keys, fresh=_fresh(call.headers))


def _fresh(headers: Mapping[str, str]) -> bool:
    """Whether the caller wants what PostgreSQL says now, past any cache (RFC 9111, 5.2.1)."""
    control = headers.get("cache-control")
    if control is None:
        return False
    return any(each.strip().lower() in _FRESH for each in control.split(","))


def _check_features(features: list[AskedFeature]) -> None:
    seen: set[str] = set()
    for place, feature in enumerate(features):
        if feature.feature_key in seen:
            raise InvalidInput("appears twice", field=f"features[{place}].feature_key")
        seen.add(feature.feature_key)
        _check_quantity(feature.quantity, f"features[{place}].quantity")


def _check_quantity(quantity: Decimal | None, field: str) -> None:
    if quantity is not None:
        check_not_negative(quantity, field)


def _fields(combined: Combined, quantity: Decimal | None) -> dict[str, Any]:
    plans = combined.source_plans
    fields: dict[str, Any] = {
        "feature_key": combined.feature_key,
        "type": combined.type,
        "granted": combined.granted,
        "source_plans": plans,
    }
    if len(plans) == 1:
        fields["source_plan"] = plans[0]
    if combined.type == "limit":
        fields |= _usage(combined)
    elif combined.type == "custom":
        fields["value"] = combined.value
    if quantity is not None:
        fields |= {"quantity": plain(quantity), "allowed": allows(combined, quantity)}
    return fields


def _usage(combined: Combined) -> dict[str, Any]:
    return {
        "metric_key": combined.metric_key,
        "limit": _number(combined.limit),
        "current_usage": _number(combined.current_usage),
        "remaining": _number(combined.remaining),
        "exceeded": combined.exceeded,
    }


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


_ERRORS: Final = ("CUSTOMER_NOT_FOUND",)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/entitlements",
        handler=resolve,
        scope="entitlements",
        query=OfCustomer,
        answers={200: Entitlements},
        errors=_ERRORS,
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
        errors=_ERRORS,
        summary="May this customer use this feature now, and how much is left",
        tag="Entitlements",
    ),
    Endpoint(
        method="POST",
        path="/v1/entitlements/check",
        handler=check_many,
        scope="entitlements",
        body=AskedFeatures,
        answers={200: CheckedEntitlements},
        errors=_ERRORS,
        summary="The same for up to a hundred features of a customer at once",
        tag="Entitlements",
        keeps_answers=False,
        example={
            "customer_id": "acme",
            "features": [{"feature_key": "api_calls", "quantity": 500}, {"feature_key": "sso"}],
        },
    ),
)
