"""Amendments over HTTP."""

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec

from abaxus_core.domain import amendments as domain
from abaxus_core.domain.amendments import AmendmentStatus, AmendmentType
from abaxus_core.domain.instants import parse_day_or_instant, start_of
from abaxus_core.errors import InvalidInput
from abaxus_core.http import codec
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import PATH_NUMBER_MAX, Call, Endpoint
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import amendments as repository
from abaxus_core.services import amendments as service
from abaxus_core.services import subscriptions
from abaxus_core.services.work import Work

Version: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=PATH_NUMBER_MAX)]
Reason: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=domain.REASON_LENGTH_MAX)]

_NEWEST = "amd_zzzzzzzzzzzzzzzzzzzzzzzzzzz"
_FIELDS_OF_TYPE: dict[str, AmendmentType] = {
    "plan_id": "plan_change",
    "plan_version": "plan_change",
    "resume_date": "pause",
    "end_date": "end_date_change",
}


class NewAmendment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`effective`: `immediate`, `end_of_period` or a day or timestamp that is not past.

    `plan_id`, `plan_version` belong to a plan_change, `resume_date` to a pause, `end_date` (null:
    no end any more) to an end_date_change. `prorate`: flat fees are shared by days.
    """

    type: AmendmentType
    effective: codec.DayOrInstant
    plan_id: codec.CallerId | None = None
    plan_version: Version | None = None
    prorate: bool = False
    resume_date: codec.DayOrInstant | None = None
    end_date: codec.DayOrInstant | msgspec.UnsetType | None = msgspec.UNSET
    reason: Reason | None = None
    idempotency_key: codec.IdempotencyKey | None = None


class Cancellation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    idempotency_key: codec.IdempotencyKey | None = None


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """`failure` says why one could not be applied."""

    id: str
    subscription_id: str
    type: AmendmentType
    effective: str
    effective_at: datetime
    status: AmendmentStatus
    plan_id: str | None
    plan_version: int | None
    prorate: bool
    resume_date: datetime | None
    end_date: datetime | None
    reason: str | None
    failure: str | None
    applied_at: datetime | None
    created_at: datetime


async def create(call: Call[NewAmendment, None]) -> Answer:
    new = _new(call.path["id"], call.body)

    async def step(work: Work) -> Amendment:
        return document(await service.create(work, new))

    return await call.write(201, step)


async def newest(call: Call[None, Paged]) -> Answer:
    query, subscription_id = call.query, call.path["id"]
    before = read_cursor(query.cursor, tuple[str])[0] if query.cursor else _NEWEST

    async def step(conn: Connection) -> Page[Amendment]:
        await subscriptions.get(conn, subscription_id)
        found = await repository.page(
            conn, subscription_id, before_id=before, rows_max=query.limit + 1
        )
        return page([document(one) for one in found], query.limit, lambda one: (one.id,))

    return await call.read(step)


async def cancel(call: Call[Cancellation, None]) -> Answer:
    async def step(work: Work) -> Amendment:
        return document(await service.cancel(work, call.path["id"], call.path["amendment_id"]))

    return await call.write(200, step)


def _new(subscription_id: str, body: NewAmendment) -> service.NewAmendment:
    _check_fields(body)
    return service.NewAmendment(
        subscription_id=subscription_id,
        type=body.type,
        effective=body.effective,
        effective_at=(
            None
            if body.effective in (service.IMMEDIATE, service.END_OF_PERIOD)
            else instant(body.effective, "effective")
        ),
        plan_id=body.plan_id,
        plan_version=body.plan_version,
        prorate=body.prorate,
        resume_at=None if body.resume_date is None else instant(body.resume_date, "resume_date"),
        end_at=instant(body.end_date, "end_date") if isinstance(body.end_date, str) else None,
        reason=body.reason,
    )


def _check_fields(body: NewAmendment) -> None:
    """Raise InvalidInput for what the type needs and for what belongs to another."""
    given = {
        "plan_id": body.plan_id is not None,
        "plan_version": body.plan_version is not None,
        "resume_date": body.resume_date is not None,
        "end_date": body.end_date is not msgspec.UNSET,
    }
    for field, of_type in _FIELDS_OF_TYPE.items():
        if given[field] and body.type != of_type:
            raise InvalidInput(f"belongs to a {of_type}", field=field)
    if body.type == "plan_change" and not given["plan_id"]:
        raise InvalidInput("is required for a plan_change", field="plan_id")
    if body.type == "end_date_change" and not given["end_date"]:
        raise InvalidInput("is required for an end_date_change; null is no end", field="end_date")


def instant(text: str, field: str) -> datetime:
    """The instant of a day, its midnight, or of a timestamp. Raises InvalidInput."""
    return start_of(parse_day_or_instant(text, field))


def document(amendment: domain.Amendment) -> Amendment:
    """An amendment as it is answered."""
    return Amendment(
        id=amendment.id,
        subscription_id=amendment.subscription_id,
        type=amendment.type,
        effective=amendment.effective,
        effective_at=amendment.effective_at,
        status=amendment.status,
        plan_id=amendment.plan_id,
        plan_version=amendment.plan_version,
        prorate=amendment.prorate,
        resume_date=amendment.resume_at,
        end_date=amendment.end_at,
        reason=amendment.reason,
        failure=amendment.failure,
        applied_at=amendment.applied_at,
        created_at=amendment.created_at,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/subscriptions/{id}/amendments",
        handler=create,
        scope="write",
        body=NewAmendment,
        answers={201: Amendment},
        errors=(
            "SUBSCRIPTION_NOT_FOUND",
            "INVALID_STATE",
            "PLAN_NOT_FOUND",
            "PLAN_VERSION_NOT_FOUND",
            "PLAN_VERSION_DEPRECATED",
            "CURRENCY_MISMATCH",
            "METRIC_ALREADY_PRICED",
        ),
        example={"type": "cancel", "effective": "end_of_period"},
        summary="Change a subscription's plan or end, pause, resume or cancel it, now or later",
        tag="Amendments",
    ),
    Endpoint(
        method="GET",
        path="/v1/subscriptions/{id}/amendments",
        handler=newest,
        scope="read",
        query=Paged,
        answers={200: Page[Amendment]},
        errors=("SUBSCRIPTION_NOT_FOUND",),
        summary="List a subscription's amendments, newest first",
        tag="Amendments",
    ),
    Endpoint(
        method="POST",
        path="/v1/subscriptions/{id}/amendments/{amendment_id}/cancel",
        handler=cancel,
        scope="write",
        body=Cancellation,
        answers={200: Amendment},
        errors=("SUBSCRIPTION_NOT_FOUND", "AMENDMENT_NOT_FOUND", "INVALID_STATE"),
        summary="Cancel an amendment that is pending",
        tag="Amendments",
    ),
)
