"""However often and whenever it is invoiced, a period's lines add up to the rating of its usage."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from abaxus_core.domain.aggregation import Aggregation, Measurement, aggregate
from abaxus_core.domain.charges import Charge, FlatFee
from abaxus_core.domain.decimals import ZERO
from abaxus_core.domain.fees import fees_of
from abaxus_core.domain.invoices import Line, draft
from abaxus_core.domain.lives import billing_periods, life_of
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.periods import CADENCES, Period, snap
from abaxus_core.domain.pricing import rate
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.domain.true_up import (
    Billed,
    ChargeKey,
    Due,
    Usage,
    dues_of,
    fee_lines,
    usage_lines,
)
from abaxus_core.domain.windows import Window, billed_through_after, windows_due
from tests.property.ledger import billed_by, billed_to, key_of_line
from tests.property.strategies import METRIC, charges

MONTHLY = CADENCES["monthly"]
START = datetime(2026, 1, 31, 6, tzinfo=UTC)
SPAN = timedelta(days=120)
TERMS = Terms(plan_id="plan", plan_version=1)
AGGREGATED: tuple[Aggregation, ...] = ("sum", "count", "max", "min", "last", "unique_count")

fees = st.builds(
    FlatFee,
    id=st.just("chg_fee"),
    amount=st.decimals(min_value=0, max_value=1000, places=3),
    billing=st.sampled_from(["in_arrears", "in_advance"]),
)
moments = st.integers(0, int(SPAN / timedelta(hours=1))).map(
    lambda hours: START + timedelta(hours=hours)
)
events = st.builds(
    Measurement,
    value=st.decimals(min_value=-50, max_value=5_000, places=4),
    occurred_at=moments,
    arrival=st.integers(0, 10**6),
    property=st.sampled_from(["a", "b", "c"]),
)
# Invoices at any cutoff, in any order, each with the events that landed since the one before.
runs = st.lists(st.tuples(moments, st.lists(events, max_size=6)), min_size=1, max_size=6)


class Ledger:
    """A customer with one subscription, invoiced the way the services do it, without a database."""

    def __init__(self, priced: tuple[Charge, ...], aggregation: Aggregation) -> None:
        self.charges = priced
        self.aggregation = aggregation
        self.subscription = Subscription(
            id="sub_1",
            customer_no=1,
            customer_id="acme",
            plan_id="plan",
            plan_version=1,
            start_at=START,
            created_at=START,
        )
        self.landed: list[Measurement] = []
        self.changed: list[Measurement] = []
        self.lines: list[Line] = []
        self.credit_minor = 0
        self.collected_minor = 0

    def land(self, arrived: list[Measurement]) -> None:
        self.landed += arrived
        self.changed += arrived

    def invoice(self, cutoff: datetime) -> list[Line]:
        windows = windows_due(
            life_of(self.subscription),
            MONTHLY,
            billed_through=self.subscription.billed_through,
            cutoff=cutoff,
            billed_to=self._billed_to(),
            changed_days={event.occurred_at.date() for event in self.changed},
        )
        issued = [line for window in windows for line in self._lines_of(window)]
        self.subscription = msgspec.structs.replace(
            self.subscription,
            billed_through=billed_through_after(self.subscription.billed_through, windows),
        )
        self._settle(issued)
        self.changed = []
        return issued

    def _settle(self, issued: list[Line]) -> None:
        if not issued:
            return
        made = draft(issued, currency="usd", credit_minor=self.credit_minor)
        self.credit_minor += made.credit_change_minor
        self.collected_minor += made.total_minor
        self.lines += issued

    def _lines_of(self, window: Window) -> list[Line]:
        life = life_of(self.subscription)
        fees = fees_of(life, window.whole, {TERMS: self.charges})
        dues = dues_of(self.subscription.id, life, window, {TERMS: self.charges})
        return [
            *fee_lines(self.subscription.id, window, fees, billed=self.billed(), currency="usd"),
            *(line for due in dues for line in self._lines(due)),
        ]

    def _lines(self, due: Due) -> list[Line]:
        usage = Usage(
            quantity=self.quantity(due.usage_period), event_count=len(self._in(due.usage_period))
        )
        return usage_lines(
            due, usage={METRIC: usage}, billed=self.billed(), currency="usd", watermark=0
        )

    def _in(self, period: Period) -> list[Measurement]:
        return [event for event in self.landed if period.contains(event.occurred_at)]

    def quantity(self, period: Period) -> Decimal:
        return aggregate(self.aggregation, self._in(period))

    def billed(self) -> dict[ChargeKey, Billed]:
        return billed_by(self.lines)

    def _billed_to(self) -> dict[datetime, datetime]:
        return billed_to(self.lines, self.subscription.billed_through or START)


@settings(max_examples=150)
@given(charges, fees, st.sampled_from(AGGREGATED), runs)
def test_lines_add_up_to_the_rating_of_all(
    charge: Charge,
    fee: FlatFee,
    aggregation: Aggregation,
    plan: list[tuple[datetime, list[Measurement]]],
) -> None:
    ledger = Ledger((fee, charge), aggregation)
    for cutoff, arrived in plan:
        ledger.land(arrived)
        ledger.invoice(cutoff)
    end = START + SPAN
    ledger.invoice(end)

    rated_minor = 0
    for period in billing_periods(life_of(ledger.subscription), MONTHLY, START, end):
        until = Period(start=period.start, end=min(period.end, end))
        owed = [rate(charge, ledger.quantity(until))]
        if fee.billing == "in_advance" or snap(end, period.end) >= period.end:
            owed.append(rate(fee, ZERO))
        rated_minor += sum(to_minor(part.exact_amount, "usd") for part in owed)

    assert sum(line.amount_minor for line in ledger.lines) == rated_minor
    assert ledger.collected_minor - ledger.credit_minor == rated_minor
    # A difference that rounds away waits for the next line; it never becomes money of its own.
    for billed in ledger.billed().values():
        assert to_minor(billed.exact_amount, "usd") == billed.amount_minor


@settings(max_examples=100)
@given(charges, fees, st.sampled_from(AGGREGATED), runs)
def test_invoicing_again_bills_nothing(
    charge: Charge,
    fee: FlatFee,
    aggregation: Aggregation,
    plan: list[tuple[datetime, list[Measurement]]],
) -> None:
    ledger = Ledger((fee, charge), aggregation)
    for cutoff, arrived in plan:
        ledger.land(arrived)
        ledger.invoice(cutoff)
        assert ledger.invoice(cutoff) == []
        assert ledger.invoice(START) == []


@settings(max_examples=100)
@given(charges, fees, runs)
def test_no_line_is_billed_twice_under_one_revision(
    charge: Charge, fee: FlatFee, plan: list[tuple[datetime, list[Measurement]]]
) -> None:
    ledger = Ledger((fee, charge), "sum")
    for cutoff, arrived in plan:
        ledger.land(arrived)
        ledger.invoice(cutoff)
    revisions = [(key_of_line(line), line.revision) for line in ledger.lines]
    assert len(set(revisions)) == len(revisions)
    assert all(line.amount_minor == (line.owed_minor or 0) - (line.previously_billed_minor or 0)
               for line in ledger.lines)  # fmt: skip
