"""Invoice lines rated per second in pure domain code, against bare Decimal arithmetic.

The baseline does what no rating can do without: for each line the multiplications and additions of
its tiers, and one rounding. We do the same and make the line: breakdown, exact amount, difference
to what was billed, proof. Both must come to the same cents.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from time import perf_counter_ns

from abaxus_core.domain.charges import FlatFee, Package, PerUnit, Tier, Tiered, UsageCharge, Volume
from abaxus_core.domain.fees import Fee
from abaxus_core.domain.lives import Segment
from abaxus_core.domain.periods import Period
from abaxus_core.domain.subscriptions import Terms
from abaxus_core.domain.true_up import Due, Usage, fee_lines, usage_lines
from abaxus_core.domain.windows import Window
from benchmarks.report import at_least, interleaved, median_of, publish, shown

SEGMENTS = 4_000
SECOND_NS = 1_000_000_000

STEPS = ((1_000, "12.00"), (3_000, "9.50"), (None, "7.25"))
PERIOD = Period(start=datetime(2026, 4, 1, tzinfo=UTC), end=datetime(2026, 5, 1, tzinfo=UTC))
TERMS = Terms(plan_id="airport", plan_version=1)


def _tiers() -> tuple[Tier, ...]:
    return tuple(
        Tier(up_to=None if up_to is None else Decimal(up_to), unit_price=Decimal(price))
        for up_to, price in STEPS
    )


FEE = Fee(start=PERIOD.start, terms=TERMS, charge=FlatFee(id="chg_fee", amount=Decimal("500.00")))


def _charges() -> tuple[UsageCharge, ...]:
    return (
        Tiered(id="chg_tiered", metric_key="flights", tiers=_tiers()),
        Volume(id="chg_volume", metric_key="flights", tiers=_tiers()),
        PerUnit(id="chg_unit", metric_key="flights", unit_price=Decimal("1.505")),
        Package(
            id="chg_package",
            metric_key="flights",
            package_size=Decimal(10),
            package_price=Decimal("150.00"),
        ),
    )


def _quantities() -> list[Decimal]:
    """Spread over all tiers, some with fractions; the same in every run."""
    return [Decimal(n * 7919 % 50_000) / 10 for n in range(SEGMENTS)]


def _due(charges: tuple[UsageCharge, ...]) -> Due:
    return Due(
        subscription_id="sub_1",
        window=Window(period=PERIOD, whole=PERIOD, end=PERIOD.end, invoiced=False),
        segment=Segment(start=PERIOD.start, end=PERIOD.end, terms=TERMS),
        charges=charges,
    )


def rate_lines(due: Due, quantities: list[Decimal]) -> int:
    """Return the sum in cents of all lines, as invoicing makes them."""
    total_minor = 0
    for quantity in quantities:
        usage = {"flights": Usage(quantity=quantity, event_count=1)}
        for line in (
            *fee_lines("sub_1", due.window, [FEE], billed={}, currency="usd"),
            *usage_lines(due, usage=usage, billed={}, currency="usd", watermark=1),
        ):
            total_minor += line.amount_minor
    return total_minor


def multiply_and_round(quantities: list[Decimal]) -> int:
    """Return the same sum by the arithmetic alone."""
    cent = Decimal("0.01")
    steps = [(None if up_to is None else Decimal(up_to), Decimal(p)) for up_to, p in STEPS]
    total = Decimal(0)
    for quantity in quantities:
        for amount in (
            Decimal("500.00"),
            _graduated(steps, quantity),
            quantity * next(p for up_to, p in steps if up_to is None or quantity <= up_to),
            quantity * Decimal("1.505"),
            (quantity / 10).to_integral_value(ROUND_CEILING) * Decimal("150.00"),
        ):
            total += amount.quantize(cent, rounding=ROUND_HALF_UP)
    return int(total * 100)


def _graduated(steps: list[tuple[Decimal | None, Decimal]], quantity: Decimal) -> Decimal:
    amount = lower = Decimal(0)
    for up_to, price in steps:
        upper = quantity if up_to is None else min(quantity, up_to)
        amount += (upper - lower) * price
        lower = upper
    return amount


def _timed(run: Callable[[], int]) -> int:
    started = perf_counter_ns()
    run()
    return perf_counter_ns() - started


def main() -> None:
    charges, quantities = _charges(), _quantities()
    due = _due(charges)
    total_minor = rate_lines(due, quantities)
    assert total_minor == multiply_and_round(quantities), "both must come to the same cents"
    elapsed = interleaved(
        {
            "arithmetic": lambda: _timed(lambda: multiply_and_round(quantities)),
            "lines": lambda: _timed(lambda: rate_lines(due, quantities)),
        }
    )
    lines = SEGMENTS * (1 + len(charges)) * SECOND_NS
    rated = lines / median_of(elapsed["lines"])
    arithmetic = lines / median_of(elapsed["arithmetic"])
    publish(
        "rating: invoice lines in pure domain code",
        [
            shown("bare arithmetic, lines per second", arithmetic),
            shown("invoice lines rated per second", rated),
            at_least("rated, as a share of bare arithmetic", rated / arithmetic, "0.06"),
        ],
    )


if __name__ == "__main__":
    main()
