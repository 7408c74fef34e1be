"""Subscriptions over HTTP."""

from datetime import datetime

import msgspec

from abaxus_core.domain import lives
from abaxus_core.domain.periods import Period
from abaxus_core.http import codec
from abaxus_core.http.amendments import Amendment, Version, document, instant
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import subscriptions as repository
from abaxus_core.services import subscriptions as service
from abaxus_core.services.work import Work

_NEWEST = "sub_zzzzzzzzzzzzzzzzzzzzzzzzzzz"


class NewSubscription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """It runs from `start_date` until just before `end_date`; a day stands for its midnight, UTC.

    `plan_version` defaults to the version active when the subscription starts, or now if later.
    """

    customer_id: codec.CallerId
    plan_id: codec.CallerId
    plan_version: Version | None = None
    start_date: codec.DayOrInstant
    end_date: codec.DayOrInstant | None = None
    idempotency_key: codec.IdempotencyKey | None = None


class Listed(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: codec.CallerId | None = None


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """As amendments leave it now. `current_period` is null before the start and after the end."""

    id: str
    customer_id: str
    plan_id: str
    plan_version: int
    status: lives.SubscriptionStatus
    start_date: datetime
    end_date: datetime | None
    current_period: Period | None
    pending_amendments: tuple[Amendment, ...]
    created_at: datetime


async def create(call: Call[NewSubscription, None]) -> Answer:
    body = call.body
    new = service.NewSubscription(
        customer_id=body.customer_id,
        plan_id=body.plan_id,
        plan_version=body.plan_version,
        start_at=instant(body.start_date, "start_date"),
        end_at=None if body.end_date is None else instant(body.end_date, "end_date"),
    )

    async def step(work: Work) -> Subscription:
        return _shown(await service.create(work, new), work.now)

    return await call.write(201, step)


async def newest(call: Call[None, Listed]) -> Answer:
    query, now = call.query, call.context.clock()
    before = read_cursor(query.cursor, tuple[str])[0] if query.cursor else _NEWEST

    async def step(conn: Connection) -> Page[Subscription]:
        if query.customer_id is None:
            found = await repository.page(conn, before_id=before, rows_max=query.limit + 1)
        else:
            found = await repository.page_of_customer(
                conn, query.customer_id, before_id=before, rows_max=query.limit + 1
            )
        return page([_shown(one, now) for one in found], query.limit, lambda one: (one.id,))

    return await call.read(step)


async def get(call: Call[None, None]) -> Answer:
    now = call.context.clock()

    async def step(conn: Connection) -> Subscription:
        return _shown(await service.get(conn, call.path["id"]), now)

    return await call.read(step)


def _shown(paced: repository.Paced, now: datetime) -> Subscription:
    subscription = paced.subscription
    life = lives.life_of(subscription, due_by=now)
    terms = lives.terms_at(life, now)
    return Subscription(
        id=subscription.id,
        customer_id=subscription.customer_id,
        plan_id=terms.plan_id,
        plan_version=terms.plan_version,
        status=lives.status_at(life, now),
        start_date=subscription.start_at,
        end_date=life.end_at,
        current_period=lives.current_period(life, paced.cadence, now),
        pending_amendments=tuple(
            document(one) for one in subscription.amendments if one.status == "pending"
        ),
        created_at=subscription.created_at,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/subscriptions",
        handler=create,
        scope="write",
        body=NewSubscription,
        answers={201: Subscription},
        errors=(
            "CUSTOMER_NOT_FOUND",
            "PLAN_NOT_FOUND",
            "PLAN_VERSION_NOT_FOUND",
            "PLAN_VERSION_DEPRECATED",
            "CURRENCY_MISMATCH",
            "METRIC_ALREADY_PRICED",
        ),
        example={"customer_id": "acme", "plan_id": "growth", "start_date": "2026-05-01"},
        summary="Put a customer on a plan version, pinned",
        tag="Subscriptions",
    ),
    Endpoint(
        method="GET",
        path="/v1/subscriptions",
        handler=newest,
        scope="read",
        query=Listed,
        answers={200: Page[Subscription]},
        summary="List subscriptions, of all customers or one, newest first",
        tag="Subscriptions",
    ),
    Endpoint(
        method="GET",
        path="/v1/subscriptions/{id}",
        handler=get,
        scope="read",
        answers={200: Subscription},
        errors=("SUBSCRIPTION_NOT_FOUND",),
        summary="Read a subscription with its current period and pending amendments",
        tag="Subscriptions",
    ),
)
