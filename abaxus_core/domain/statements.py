"""What a customer would be invoiced now, all subscriptions together, and what a plan would cost.

One subscription's lines are true_up.py's; totals and credit are invoices.py's.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from abaxus_core.domain.charges import Charge, FlatFee, describe, model_of
from abaxus_core.domain.decimals import ZERO
from abaxus_core.domain.instants import text_of
from abaxus_core.domain.invoices import Line
from abaxus_core.domain.lives import Life, current_period
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.periods import Cadence, snap
from abaxus_core.domain.pricing import ONE, rate
from abaxus_core.errors import InvalidInput

# Sums of an invoice's lines still fit a signed 64-bit integer.
AMOUNT_MINOR_MAX = 2**63 // 100_000


def effective_cutoff(cutoff: datetime, lives: Iterable[tuple[Life, Cadence]]) -> datetime:
    """Return the cutoff, or the period end of a subscription that it falls within a second of.

    It is found whether or not that period was invoiced, so that asking again means the same.
    """
    periods = (current_period(life, cadence, cutoff) for life, cadence in lives)
    return max((snap(cutoff, period.end) for period in periods if period), default=cutoff)


def check_cutoff(cutoff: datetime, last_cutoff: datetime | None) -> None:
    """Raise InvalidInput when the customer has been invoiced beyond the cutoff already."""
    if last_cutoff is not None and is_behind(cutoff, last_cutoff):
        raise InvalidInput(
            f"lies before the cutoff of the customer's last invoice, {text_of(last_cutoff)}",
            field="cutoff_date",
        )


def is_behind(cutoff: datetime, last_cutoff: datetime | None) -> bool:
    """Return whether a customer has been invoiced beyond the cutoff already."""
    return last_cutoff is not None and cutoff < last_cutoff


def check_amounts(lines: Iterable[Line]) -> None:
    """Raise InvalidInput when a line outgrows what can be invoiced and paid."""
    for line in lines:
        if not -AMOUNT_MINOR_MAX <= (line.owed_minor or line.amount_minor) <= AMOUNT_MINOR_MAX:
            raise InvalidInput(f"the amount of {line.description!r} is too large to be invoiced")


def moves_money(lines: Sequence[Line]) -> bool:
    """Return whether some line has an amount, though they may meet at zero."""
    return any(line.amount_minor != 0 for line in lines)


def preview_lines(
    charges: Sequence[Charge], usage: Mapping[str, Decimal], currency: str
) -> tuple[Line, ...]:
    """Return what a whole period under the charges would cost; a metric not given counts as 0.

    Raises InvalidInput for usage of a metric that no charge prices.
    """
    priced = {charge.metric_key for charge in charges}
    for metric_key in usage:
        if metric_key not in priced:
            raise InvalidInput("the plan prices no such metric", field=f"usage.{metric_key}")
    return tuple(_preview_line(charge, usage, currency) for charge in charges)


def _preview_line(charge: Charge, usage: Mapping[str, Decimal], currency: str) -> Line:
    quantity = ONE if isinstance(charge, FlatFee) else usage.get(charge.metric_key, ZERO)
    rated = rate(charge, quantity)
    return Line(
        kind="flat_fee" if isinstance(charge, FlatFee) else "usage",
        description=describe(charge),
        exact_amount=rated.exact_amount,
        amount_minor=to_minor(rated.exact_amount, currency),
        charge_id=charge.id,
        pricing_model=model_of(charge),
        metric_key=charge.metric_key,
        quantity=quantity,
        step=rated.step,
        tier_breakdown=rated.breakdown,
    )
