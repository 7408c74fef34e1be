"""Line items as calculations, previews and invoices answer them."""

from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.digest import digest_text
from abaxus_core.domain.invoices import Line, LineKind
from abaxus_core.domain.periods import Period
from abaxus_core.domain.pricing import PricingModel, TierShare


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted: the events in [window_start, window_end), but for those within `pauses`,
    that landed by the watermark.

    `digest` is the sum of the events' hashes, in whatever order: hexadecimal, modulo 2^64.
    """

    event_count: int
    digest: str
    watermark: int
    window_start: datetime
    window_end: datetime
    pauses: tuple[Period, ...]


class LineItem(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` = `owed_amount` − `previously_billed_amount`, in minor units.

    Quantity, tiers and proof are of everything owed for that stretch of the period; `exact_amount`
    is the difference before rounding. A line of credit has an amount only.
    """

    charge_id: str | None
    kind: LineKind
    description: str
    pricing_model: PricingModel | None
    metric_key: str | None
    subscription_id: str | None
    plan_id: str | None
    plan_version: int | None
    period_start: datetime | None
    period_end: datetime | None
    quantity: Decimal | None
    exact_amount: Decimal
    amount: int
    owed_amount: int | None
    previously_billed_amount: int | None
    tier_breakdown: list[TierShare] | None
    proof: Proof | None


def line_item(line: Line) -> LineItem:
    """A line as it is answered."""
    return LineItem(
        charge_id=line.charge_id,
        kind=line.kind,
        description=line.description,
        pricing_model=line.pricing_model,
        metric_key=line.metric_key,
        subscription_id=line.subscription_id,
        plan_id=line.plan_id,
        plan_version=line.plan_version,
        period_start=line.period_start,
        period_end=line.period_end,
        quantity=line.quantity,
        exact_amount=line.exact_amount,
        amount=line.amount_minor,
        owed_amount=line.owed_minor,
        previously_billed_amount=line.previously_billed_minor,
        tier_breakdown=None if line.tier_breakdown is None else list(line.tier_breakdown),
        proof=_proof(line),
    )


def _proof(line: Line) -> Proof | None:
    if line.watermark is None:
        return None
    assert line.event_count is not None, "a watermark comes with a count"
    assert line.digest is not None, "a watermark comes with a digest"
    assert line.segment_start is not None, "a watermark comes with a window"
    assert line.segment_end is not None, "a watermark comes with a window"
    assert line.window_end is not None, "a watermark comes with a window"
    return Proof(
        event_count=line.event_count,
        digest=digest_text(line.digest),
        watermark=line.watermark,
        window_start=line.segment_start,
        window_end=max(line.segment_start, min(line.segment_end, line.window_end)),
        pauses=line.pauses,
    )
