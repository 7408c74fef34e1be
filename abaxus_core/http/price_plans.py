"""Price plans and their versions over HTTP."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec

from abaxus_core.domain.charges import Charge
from abaxus_core.domain.entitlements import Entitlement
from abaxus_core.domain.instants import INSTANT_MAX, check_instant
from abaxus_core.domain.money import normalise_currency
from abaxus_core.domain.periods import Cadence, billing_period_of, cadence_of
from abaxus_core.domain.plans import PlanStatus
from abaxus_core.http import codec, spellings
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import PATH_NUMBER_MAX, Call, Endpoint
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.http.plan_documents import (
    NewCharge,
    NewEntitlement,
    charges_of,
    entitlements_of,
)
from abaxus_core.http.texts import Description, Name
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import price_plans as repository
from abaxus_core.services import price_plans as service
from abaxus_core.services.work import Work

BillingPeriod: TypeAlias = (
    Literal["daily", "weekly", "monthly", "quarterly", "semiannual", "annual"] | Cadence
)

_NEWEST: tuple[datetime, str] = (INSTANT_MAX, "")


class NewPricePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan's next version, whole; the first where the id is new.

    `currency` is a code of ISO 4217 in any case; prices are in its major unit, up to ten decimals.
    `effective_from` defaults to now.
    """

    id: codec.CallerId
    name: Name
    currency: str
    billing_period: BillingPeriod
    charges: list[NewCharge]
    entitlements: list[NewEntitlement] = []
    changelog: Description | None = None
    effective_from: datetime | None = None
    idempotency_key: codec.IdempotencyKey | None = None


class PricePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a plan. Nothing in it ever changes but status and `deprecated_at`."""

    id: str
    version: int
    name: str
    currency: str
    billing_period: str | Cadence
    status: PlanStatus
    effective_from: datetime
    deprecated_at: datetime | None
    changelog: str | None
    charges: tuple[Charge, ...]
    entitlements: tuple[Entitlement, ...]
    created_at: datetime


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of plans ended."""

    created_at: Annotated[datetime, msgspec.Meta(tz=True)]
    plan_id: str


class _VersionPosition(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of versions ended."""

    version: Annotated[int, msgspec.Meta(ge=1, le=PATH_NUMBER_MAX)]


async def create(call: Call[NewPricePlan, None]) -> Answer:
    new = _version(call.body)

    async def step(work: Work) -> PricePlan:
        return _shown(await service.create_version(work, new), work.now)

    return await call.write(201, step)


async def newest(call: Call[None, Paged]) -> Answer:
    query, now = call.query, call.context.clock()
    before = _before(query.cursor) if query.cursor else _NEWEST

    async def step(conn: Connection) -> Page[PricePlan]:
        found = await repository.page(conn, now=now, before=before, rows_max=query.limit + 1)
        shown = page(
            found, query.limit, lambda plan: (plan.created_at, plan.current.version.plan_id)
        )
        data = [_shown(plan.current, now) for plan in shown.data]
        return Page(data=data, next_cursor=shown.next_cursor)

    return await call.read(step)


async def get(call: Call[None, None]) -> Answer:
    now = call.context.clock()

    async def step(conn: Connection) -> PricePlan:
        return _shown(await service.get(conn, call.path["id"], now=now), now)

    return await call.read(step)


async def versions(call: Call[None, Paged]) -> Answer:
    query, now, plan_id = call.query, call.context.clock(), call.path["id"]
    before = _before_version(query.cursor) if query.cursor else PATH_NUMBER_MAX

    async def step(conn: Connection) -> Page[PricePlan]:
        found = await service.page_of_versions(
            conn, plan_id, now=now, before_version=before, rows_max=query.limit + 1
        )
        shown = page(found, query.limit, lambda placed: (placed.version.version,))
        data = [_shown(placed, now) for placed in shown.data]
        return Page(data=data, next_cursor=shown.next_cursor)

    return await call.read(step)


async def get_version(call: Call[None, None]) -> Answer:
    now, plan_id, version = call.context.clock(), call.path["id"], call.number("n")

    async def step(conn: Connection) -> PricePlan:
        return _shown(await service.get_version(conn, plan_id, version, now=now), now)

    return await call.read(step)


async def deprecate(call: Call[None, None]) -> Answer:
    plan_id, version = call.path["id"], call.number("n")

    async def step(work: Work) -> PricePlan:
        return _shown(await service.deprecate_version(work, plan_id, version), work.now)

    return await call.write(200, step)


def _before(cursor: str) -> tuple[datetime, str]:
    position = read_cursor(cursor, _Position)
    return check_instant(position.created_at, "cursor"), position.plan_id


def _before_version(cursor: str) -> int:
    return read_cursor(cursor, _VersionPosition).version


def _version(body: NewPricePlan) -> service.NewVersion:
    effective_from = body.effective_from
    return service.NewVersion(
        plan_id=body.id,
        name=body.name,
        currency=normalise_currency(body.currency),
        cadence=cadence_of(body.billing_period),
        charges=charges_of(body.charges),
        entitlements=entitlements_of(body.entitlements),
        changelog=body.changelog,
        effective_from=effective_from and check_instant(effective_from, "effective_from"),
    )


def _shown(placed: repository.Placed, now: datetime) -> PricePlan:
    version = placed.version
    return PricePlan(
        id=version.plan_id,
        version=version.version,
        name=version.name,
        currency=version.currency,
        billing_period=billing_period_of(version.cadence),
        status=service.status_of(placed, now),
        effective_from=version.effective_from,
        deprecated_at=version.deprecated_at,
        changelog=version.changelog,
        charges=version.charges,
        entitlements=version.entitlements,
        created_at=version.created_at,
    )


_EXAMPLE = {
    "id": "growth",
    "name": "Growth",
    "currency": "usd",
    "billing_period": "monthly",
    "charges": [
        {"pricing_model": "flat_fee", "description": "Base fee", "amount": "49.00"},
        {
            "pricing_model": "tiered",
            "metric_key": "api_calls",
            "tiers": [
                {"up_to": 100000, "unit_price": "0"},
                {"up_to": 1000000, "unit_price": "0.0001"},
                {"up_to": None, "unit_price": "0.00005"},
            ],
        },
    ],
    "entitlements": [
        {"feature_key": "calls", "type": "limit", "limit": 2000000, "metric_key": "api_calls"}
    ],
}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/price-plans",
        handler=create,
        scope="write",
        body=NewPricePlan,
        rewrite=spellings.price_plan,
        answers={201: PricePlan},
        errors=("METRIC_NOT_FOUND",),
        example=_EXAMPLE,
        summary="Create a price plan, or the next version of one",
        tag="Price plans",
    ),
    Endpoint(
        method="GET",
        path="/v1/price-plans",
        handler=newest,
        scope="read",
        query=Paged,
        answers={200: Page[PricePlan]},
        summary="List price plans, newest first, each as its current version",
        tag="Price plans",
    ),
    Endpoint(
        method="GET",
        path="/v1/price-plans/{id}",
        handler=get,
        scope="read",
        answers={200: PricePlan},
        errors=("PLAN_NOT_FOUND",),
        summary="Read a plan's active version, the newest where none is active",
        tag="Price plans",
    ),
    Endpoint(
        method="GET",
        path="/v1/price-plans/{id}/versions",
        handler=versions,
        scope="read",
        query=Paged,
        answers={200: Page[PricePlan]},
        errors=("PLAN_NOT_FOUND",),
        summary="List a plan's versions, newest first",
        tag="Price plans",
    ),
    Endpoint(
        method="GET",
        path="/v1/price-plans/{id}/versions/{n}",
        handler=get_version,
        scope="read",
        answers={200: PricePlan},
        errors=("PLAN_NOT_FOUND", "PLAN_VERSION_NOT_FOUND"),
        summary="Read one version of a plan",
        tag="Price plans",
    ),
    Endpoint(
        method="POST",
        path="/v1/price-plans/{id}/versions/{n}/deprecate",
        handler=deprecate,
        scope="write",
        answers={200: PricePlan},
        errors=("PLAN_NOT_FOUND", "PLAN_VERSION_NOT_FOUND"),
        summary="Close a version to new subscriptions; those that run go on",
        tag="Price plans",
    ),
)
