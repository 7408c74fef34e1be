"""Line items as calculations, previews and invoices answer them."""

from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.charges import PricingModel
from abaxus_core.domain.digest import digest_text
from abaxus_core.domain.explanations import Term, explain
from abaxus_core.domain.invoices import Line, LineKind
from abaxus_core.domain.periods import Period
from abaxus_core.domain.pricing import TierShare


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


class ExplainedStep(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` = `quantity` × `unit_price` × `days` / `of_days` + `flat_amount`, in major units.

    Days are those of a share of a fee. The quantity of a package charge is of packages: usage less
    `free_units`, by `package_size`, a started one counting whole.
    """

    tier: int | None
    quantity: Decimal
    unit_price: Decimal
    days: int | None
    of_days: int | None
    package_size: Decimal | None
    free_units: Decimal | None
    flat_amount: Decimal
    amount: Decimal


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`steps` add up to `owed`, which is `owed_amount` before it is rounded, once, half away from
    zero. There are none where nothing is owed any more.
    """

    steps: list[ExplainedStep]
    owed: Decimal


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
    explanation: Explanation
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
        explanation=_explanation(line),
        proof=_proof(line),
    )


def _explanation(line: Line) -> Explanation:
    explained = explain(line)
    return Explanation(steps=[_step(term) for term in explained.terms], owed=explained.owed)


def _step(term: Term) -> ExplainedStep:
    step = term.step
    return ExplainedStep(
        tier=term.tier,
        quantity=step.quantity,
        unit_price=step.unit_price,
        days=step.days,
        of_days=step.of_days,
        package_size=step.package_size,
        free_units=step.free_units,
        flat_amount=term.flat_amount,
        amount=term.amount,
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
