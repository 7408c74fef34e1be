"""The true-up principle: per subscription, billing period, segment and charge, `owed − billed`.

windows.py says which billing periods an invoice has to look at; the caller aggregates usage over
their segments; then `usage_lines` and `fee_lines` give the lines, and `reversals` what was billed
and is owed no longer. Interim invoices, late events, retries and amendments need no case of their
own. Product contract, section 6.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.charges import Charge, FlatFee, UsageCharge, describe, model_of
from abaxus_core.domain.decimals import ZERO, exact
from abaxus_core.domain.fees import Fee, describe_fee, is_due, kind_of, step_of
from abaxus_core.domain.invoices import Line
from abaxus_core.domain.lives import Life, Segment, segments
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.periods import Period
from abaxus_core.domain.pricing import ONE, Rated, Step, amount_of, rate
from abaxus_core.domain.subscriptions import Terms
from abaxus_core.domain.windows import Window


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a window, with the usage charges of its plan version."""

    subscription_id: str
    window: Window
    segment: Segment
    charges: tuple[UsageCharge, ...]

    @property
    def usage_period(self) -> Period:
        """The half-open stretch whose events count, but for those within the segment's pauses;
        empty when the window ends before it."""
        end = max(self.segment.start, min(self.segment.end, self.window.end))
        return Period(start=self.segment.start, end=end)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A metric aggregated over a segment's usage period, and the proof of what was counted."""

    quantity: Decimal = ZERO
    event_count: int = 0
    digest: int = 0


class ChargeKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is billed once: a charge within a segment of a billing period of a subscription."""

    subscription_id: str
    period_start: datetime
    segment_start: datetime
    charge_id: str


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """What earlier invoices hold for one ChargeKey: sums over its lines, and how many there are.

    `watermark`: the highest that one of them was rated at.
    """

    amount_minor: int = 0
    exact_amount: Decimal = ZERO
    revisions: int = 0
    watermark: int = 0


NO_USAGE = Usage()
NEVER_BILLED = Billed()


def dues_of(
    subscription_id: str, life: Life, window: Window, charges: Mapping[Terms, Sequence[Charge]]
) -> list[Due]:
    """Return a window's segments that have begun, each with the usage charges of its terms."""
    return [
        Due(
            subscription_id=subscription_id,
            window=window,
            segment=segment,
            charges=tuple(one for one in charges[segment.terms] if not isinstance(one, FlatFee)),
        )
        for segment in segments(life, window.period)
        if segment.start < window.end
    ]


def key_of(due: Due, charge: UsageCharge) -> ChargeKey:
    """Return what the charge is billed under in this segment."""
    return ChargeKey(
        subscription_id=due.subscription_id,
        period_start=due.window.period.start,
        segment_start=due.segment.start,
        charge_id=charge.id,
    )


def fee_key(subscription_id: str, window: Window, fee: Fee) -> ChargeKey:
    """Return what a fee, or a share of it, is billed under."""
    return ChargeKey(
        subscription_id=subscription_id,
        period_start=window.period.start,
        segment_start=fee.start,
        charge_id=fee.charge.id,
    )


def key_of_line(line: Line) -> ChargeKey:
    """Return what a line of a charge is billed under."""
    assert line.subscription_id is not None, "a line of a charge is of a subscription"
    assert line.period_start is not None, "a line of a charge is of a period"
    assert line.segment_start is not None, "a line of a charge is of a segment"
    assert line.charge_id is not None, "it is a line of a charge"
    return ChargeKey(
        subscription_id=line.subscription_id,
        period_start=line.period_start,
        segment_start=line.segment_start,
        charge_id=line.charge_id,
    )


def usage_lines(
    due: Due,
    *,
    usage: Mapping[str, Usage],
    billed: Mapping[ChargeKey, Billed],
    currency: str,
    watermark: int,
) -> list[Line]:
    """Return the lines of a segment: `owed − billed` for each charge for which something is new.

    `usage` by metric over the due's usage period; `billed` by key. A charge's first line is kept
    at amount 0 when there was usage, so that included usage shows; a later one only if it differs.
    """
    lines = []
    for charge in due.charges:
        counted = usage.get(charge.metric_key, NO_USAGE)
        before = billed.get(key_of(due, charge), NEVER_BILLED)
        rated = rate(charge, counted.quantity)
        line = _usage_line(due, charge, counted, rated, watermark)
        line = _less(line, rated.exact_amount, before, currency)
        first_with_usage = before.revisions == 0 and counted.event_count > 0
        if line.amount_minor != 0 or first_with_usage:
            lines.append(line)
    return lines


def _usage_line(
    due: Due, charge: UsageCharge, counted: Usage, rated: Rated, watermark: int
) -> Line:
    return Line(
        kind="adjustment" if due.window.invoiced else "usage",
        description=describe(charge),
        charge_id=charge.id,
        pricing_model=model_of(charge),
        metric_key=charge.metric_key,
        subscription_id=due.subscription_id,
        plan_id=due.segment.terms.plan_id,
        plan_version=due.segment.terms.plan_version,
        period_start=due.window.period.start,
        period_end=due.window.period.end,
        segment_start=due.segment.start,
        segment_end=due.segment.end,
        window_end=due.window.end,
        pauses=due.segment.pauses,
        quantity=counted.quantity,
        step=rated.step,
        tier_breakdown=rated.breakdown,
        event_count=counted.event_count,
        digest=counted.digest,
        watermark=watermark,
    )


def fee_lines(
    subscription_id: str,
    window: Window,
    fees: Iterable[Fee],
    *,
    billed: Mapping[ChargeKey, Billed],
    currency: str,
) -> list[Line]:
    """Return the lines of a window's fees: what is owed of each and not billed yet."""
    lines = []
    for fee in fees:
        before = billed.get(fee_key(subscription_id, window, fee), NEVER_BILLED)
        step = step_of(fee, window.whole) if is_due(fee, window.period, window.end) else None
        owed = ZERO if step is None else amount_of(step)
        line = _less(_fee_line(subscription_id, window, fee, step), owed, before, currency)
        if line.amount_minor != 0:
            lines.append(line)
    return lines


def _fee_line(subscription_id: str, window: Window, fee: Fee, step: Step | None) -> Line:
    return Line(
        kind="adjustment" if window.invoiced else kind_of(fee),
        description=describe_fee(fee, window.whole),
        charge_id=fee.charge.id,
        pricing_model=model_of(fee.charge),
        subscription_id=subscription_id,
        plan_id=fee.terms.plan_id,
        plan_version=fee.terms.plan_version,
        period_start=window.period.start,
        period_end=window.period.end,
        segment_start=fee.start,
        segment_end=window.period.end,
        window_end=window.end,
        quantity=ONE,
        step=step,
    )


def reversals(
    billed: Mapping[ChargeKey, Billed],
    owed: Collection[ChargeKey],
    latest: Mapping[ChargeKey, Line],
    currency: str,
) -> list[Line]:
    """Return lines that give back what was billed for segments that an amendment did away with.

    It had been billed ahead of time. `owed` are the keys that something may be owed under,
    `latest` is the last line of each of the others.
    """
    return [
        _less(
            msgspec.structs.replace(
                latest[key],
                kind="adjustment",
                quantity=ZERO,
                step=None,
                tier_breakdown=None,
                event_count=None,
                digest=None,
                watermark=None,
            ),
            ZERO,
            before,
            currency,
        )
        for key, before in billed.items()
        if key not in owed and before.amount_minor != 0
    ]


def _less(line: Line, owed: Decimal, before: Billed, currency: str) -> Line:
    """The line as the next one of its charge and segment: what is owed less what was billed."""
    owed_minor = to_minor(owed, currency)
    with exact():
        difference = owed - before.exact_amount
    return msgspec.structs.replace(
        line,
        exact_amount=difference,
        amount_minor=owed_minor - before.amount_minor,
        owed_minor=owed_minor,
        previously_billed_minor=before.amount_minor,
        revision=before.revisions + 1,
    )
