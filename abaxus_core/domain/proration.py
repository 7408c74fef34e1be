"""The share of a billing period's fee that an amendment with `prorate: true` covers.

Which amendments prorate, and when, is subscriptions.py's; the rule is the product contract's,
section 6: `fee × remaining_days / days_in_period`, a started day counting whole.
"""

from datetime import datetime
from decimal import Decimal

from abaxus_core.domain.periods import Period, whole_days
from abaxus_core.domain.pricing import ONE, Step


def remaining_days(period: Period, effective_at: datetime) -> int:
    """Return the days of the period from `effective_at` on, a started one counting whole."""
    return min(whole_days(effective_at, period.end), days_in(period))


def days_in(period: Period) -> int:
    """Return the days of a period, a started one counting whole."""
    return whole_days(period.start, period.end)


def rest_of(fee: Decimal, period: Period, effective_at: datetime) -> Step:
    """Return the share of a fee for the rest of a period, to be rounded once.

    >>> from datetime import UTC
    >>> from abaxus_core.domain.money import to_minor
    >>> from abaxus_core.domain.pricing import amount_of
    >>> april = Period(
    ...     start=datetime(2026, 4, 1, tzinfo=UTC), end=datetime(2026, 5, 1, tzinfo=UTC)
    ... )
    >>> share = rest_of(Decimal("49.00"), april, datetime(2026, 4, 21, tzinfo=UTC))
    >>> share.days, share.of_days, to_minor(amount_of(share), "usd")
    (10, 30, 1633)
    """
    return Step(
        quantity=ONE,
        unit_price=fee,
        days=remaining_days(period, effective_at),
        of_days=days_in(period),
    )
