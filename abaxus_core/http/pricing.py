"""Pricing over HTTP: what a customer owes now, and what a plan would cost."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, TypeAlias

import msgspec

from abaxus_core.domain.instants import parse_day_or_instant
from abaxus_core.http import codec
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import PATH_NUMBER_MAX, Call, Endpoint
from abaxus_core.http.line_items import LineItem, line_item
from abaxus_core.http.texts import Key
from abaxus_core.repositories import calculations
from abaxus_core.services import calculations as service
from abaxus_core.services import invoicing
from abaxus_core.services.work import Work

Version: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=PATH_NUMBER_MAX)]


class NewCalculation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lines of billing periods that overlap the time given.

    A day as `period_end` counts whole; a timestamp is excluded, and one within the last second
    before the end of a billing period means that end.
    """

    customer_id: codec.CallerId
    period_start: codec.DayOrInstant
    period_end: codec.DayOrInstant
    idempotency_key: codec.IdempotencyKey | None = None


class Calculation(msgspec.Struct, frozen=True, kw_only=True):
    """What the customer would be invoiced now. `currency` is null before any subscription."""

    calculation_id: str
    customer_id: str
    period_start: datetime
    period_end: datetime
    currency: str | None
    total_amount: int
    line_items: list[LineItem]
    created_at: datetime
    expires_at: datetime


class NewPreview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`usage` is the quantity of each metric in a whole period; what is left out counts as 0."""

    plan_id: codec.CallerId
    plan_version: Version | None = None
    usage: dict[Key, Decimal] = msgspec.field(default_factory=dict)
    idempotency_key: codec.IdempotencyKey | None = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A whole period under the plan."""

    plan_id: str
    plan_version: int
    currency: str
    total_amount: int
    line_items: list[LineItem]


async def calculate(call: Call[NewCalculation, None]) -> Answer:
    body = call.body
    new = service.NewCalculation(
        customer_id=body.customer_id,
        start=parse_day_or_instant(body.period_start, "period_start"),
        end=parse_day_or_instant(body.period_end, "period_end"),
    )
    watermark = await invoicing.settled_watermark(call.context)

    async def step(work: Work) -> Calculation:
        return _shown(await service.calculate(work, new, watermark), body.customer_id)

    return await call.write(200, step)


async def preview(call: Call[NewPreview, None]) -> Answer:
    body = call.body

    async def step(work: Work) -> Preview:
        made = await service.preview(
            work.conn, body.plan_id, body.plan_version, body.usage, now=work.now
        )
        return Preview(
            plan_id=made.plan_id,
            plan_version=made.plan_version,
            currency=made.currency,
            total_amount=made.total_minor,
            line_items=[line_item(line) for line in made.lines],
        )

    return await call.write(200, step)


def _shown(calculation: calculations.Calculation, customer_id: str) -> Calculation:
    return Calculation(
        calculation_id=calculation.id,
        customer_id=customer_id,
        period_start=calculation.period_start,
        period_end=calculation.period_end,
        currency=calculation.currency,
        total_amount=calculation.total_minor,
        line_items=[line_item(line) for line in calculation.lines],
        created_at=calculation.created_at,
        expires_at=calculation.expires_at,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/pricing/calculate",
        handler=calculate,
        scope="write",
        body=NewCalculation,
        answers={200: Calculation},
        errors=("CUSTOMER_NOT_FOUND",),
        example={
            "customer_id": "acme",
            "period_start": "2026-04-01",
            "period_end": "2026-04-30",
        },
        summary="Calculate what a customer would be invoiced now, and keep it for 24 hours",
        tag="Pricing",
    ),
    Endpoint(
        method="POST",
        path="/v1/pricing/preview",
        handler=preview,
        scope="read",
        body=NewPreview,
        answers={200: Preview},
        errors=("PLAN_NOT_FOUND", "PLAN_VERSION_NOT_FOUND"),
        example={"plan_id": "growth", "usage": {"api_calls": 1374923}},
        summary="Price quantities under a plan; nothing is stored",
        tag="Pricing",
    ),
)
