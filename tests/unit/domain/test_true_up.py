from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import pytest

from abaxus_core.domain.charges import Charge, FlatFee
from abaxus_core.domain.fees import Fee
from abaxus_core.domain.invoices import Line, draft
from abaxus_core.domain.lives import life_of
from abaxus_core.domain.periods import Cadence, Period
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.domain.true_up import (
    Billed,
    ChargeKey,
    Due,
    Usage,
    dues_of,
    fee_key,
    fee_lines,
    key_of,
    reversals,
    usage_lines,
)
from abaxus_core.domain.windows import Window, billed_through_after, windows_due
from tests.unit.domain.samples import (
    APRIL,
    BASE_FEE,
    GROWTH_V1,
    MAY,
    MONTHLY,
    at,
    per_unit,
    subscription,
)

JUNE = Period(start=MAY.end, end=at("2026-07-01"))
IN_ADVANCE = FlatFee(id="chg_seat", amount=Decimal("20.00"), billing="in_advance")


TERMS = Terms(plan_id="growth", plan_version=1)


def due(
    *charges: Charge, end: datetime = APRIL.end, invoiced: bool = False, period: Period = APRIL
) -> Due:
    window = Window(period=period, whole=period, end=end, invoiced=invoiced)
    return dues_of("sub_1", life_of(subscription()), window, {TERMS: charges})[0]


def lines(
    of: Due, quantity: str = "0", count: int = 0, billed: Mapping[ChargeKey, Billed] | None = None
) -> list[Line]:
    usage = Usage(quantity=Decimal(quantity), event_count=count, digest=7)
    return usage_lines(
        of, usage={"calls": usage}, billed=billed or {}, currency="usd", watermark=42
    )


def lines_of_fees(
    *charges: FlatFee,
    end: datetime = APRIL.end,
    invoiced: bool = False,
    billed: Mapping[ChargeKey, Billed] | None = None,
) -> list[Line]:
    window = Window(period=APRIL, whole=APRIL, end=end, invoiced=invoiced)
    fees = [Fee(start=APRIL.start, terms=TERMS, charge=charge) for charge in charges]
    return fee_lines("sub_1", window, fees, billed=billed or {}, currency="usd")


def windows(
    of: Subscription,
    cutoff: datetime,
    billed_to: Mapping[datetime, datetime] | None = None,
    changed: tuple[date, ...] = (),
) -> list[Window]:
    return windows_due(
        life_of(of),
        MONTHLY,
        billed_through=of.billed_through,
        cutoff=cutoff,
        billed_to=billed_to or {},
        changed_days=changed,
    )


def test_the_golden_invoice() -> None:
    got = lines_of_fees(BASE_FEE) + lines(due(GROWTH_V1), "1374923", 9)
    assert [(line.kind, line.amount_minor) for line in got] == [
        ("flat_fee", 4900),
        ("usage", 10875),
    ]
    assert draft(got, currency="usd", credit_minor=0).total_minor == 15775
    assert got[1].exact_amount == Decimal("108.74615")
    assert got[1].tier_breakdown is not None


def test_a_usage_line_carries_its_proof() -> None:
    line = lines(due(per_unit()), "3", 2)[0]
    assert (line.event_count, line.digest, line.watermark) == (2, 7, 42)
    assert (line.segment_start, line.window_end, line.revision) == (APRIL.start, APRIL.end, 1)
    assert (line.plan_id, line.plan_version, line.quantity) == ("growth", 1, Decimal(3))


def test_a_fee_needs_no_proof() -> None:
    line = lines_of_fees(BASE_FEE)[0]
    assert (line.event_count, line.digest, line.watermark) == (None, None, None)
    assert line.quantity == 1


def test_a_line_is_what_is_owed_less_what_was_billed() -> None:
    of = due(per_unit("0.005"))
    before = Billed(amount_minor=1, exact_amount=Decimal("0.005"), revisions=1)
    line = lines(of, "3", 3, {key_of(of, of.charges[0]): before})[0]
    assert (line.owed_minor, line.previously_billed_minor, line.amount_minor) == (2, 1, 1)
    assert (line.exact_amount, line.revision) == (Decimal("0.010"), 2)


def test_nothing_new_is_no_line() -> None:
    of = due(per_unit())
    before = Billed(amount_minor=300, exact_amount=Decimal(3), revisions=1)
    assert lines(of, "3", 3, {key_of(of, of.charges[0]): before}) == []
    assert lines(of, "0", 0) == []


def test_included_usage_shows_once() -> None:
    of = due(GROWTH_V1)
    assert [line.amount_minor for line in lines(of, "5000", 12)] == [0]
    billed = {key_of(of, GROWTH_V1): Billed(revisions=1)}
    assert lines(of, "6000", 13, billed) == []


def test_usage_below_what_was_billed_is_given_back() -> None:
    of = due(per_unit())
    before = Billed(amount_minor=300, exact_amount=Decimal(3), revisions=1)
    line = lines(of, "1", 4, {key_of(of, of.charges[0]): before})[0]
    assert line.amount_minor == -200


def test_late_usage_of_an_invoiced_period_is_an_adjustment() -> None:
    got = lines(due(per_unit(), invoiced=True), "1", 1)
    assert [(line.kind, line.amount_minor) for line in got] == [("adjustment", 100)]


def test_a_fee_is_billed_once() -> None:
    window = Window(period=APRIL, whole=APRIL, end=APRIL.end, invoiced=True)
    fee = Fee(start=APRIL.start, terms=TERMS, charge=BASE_FEE)
    billed = {fee_key("sub_1", window, fee): Billed(amount_minor=4900, revisions=1)}
    assert lines_of_fees(BASE_FEE, invoiced=True, billed=billed) == []


def test_what_is_owed_no_longer_is_given_back_once() -> None:
    of = due(per_unit())
    (line,) = lines(of, "3", 3)
    key = key_of(of, of.charges[0])
    billed = {key: Billed(amount_minor=300, exact_amount=Decimal(3), revisions=1)}
    (back,) = reversals(billed, set(), {key: line}, "usd")
    assert (back.kind, back.amount_minor, back.owed_minor) == ("adjustment", -300, 0)
    assert (back.revision, back.metric_key, back.watermark) == (2, "calls", None)
    assert reversals(billed, {key}, {}, "usd") == []
    assert reversals({key: Billed(revisions=2)}, set(), {}, "usd") == []


@pytest.mark.parametrize(
    ("charge", "end", "minors"),
    [
        (BASE_FEE, "2026-04-30T00:00:00", []),
        (BASE_FEE, "2026-05-01T00:00:00", [4900]),
        (IN_ADVANCE, "2026-04-01T00:00:00", []),
        (IN_ADVANCE, "2026-04-01T00:00:00.000001", [2000]),
    ],
)
def test_when_a_fee_is_due(charge: FlatFee, end: str, minors: list[int]) -> None:
    assert [line.amount_minor for line in lines_of_fees(charge, end=at(end))] == minors


def test_the_usage_window_ends_with_the_cutoff() -> None:
    assert due(end=at("2026-04-20")).usage_period == Period(start=APRIL.start, end=at("2026-04-20"))


def test_open_periods_up_to_the_cutoff_are_due() -> None:
    assert windows(subscription(), at("2026-05-20")) == [
        Window(period=APRIL, whole=APRIL, end=APRIL.end, invoiced=False),
        Window(period=MAY, whole=MAY, end=at("2026-05-20"), invoiced=False),
    ]


def test_a_cutoff_at_a_boundary_does_not_open_the_next_period() -> None:
    assert windows(subscription(), APRIL.end) == [
        Window(period=APRIL, whole=APRIL, end=APRIL.end, invoiced=False)
    ]


def test_the_last_second_bills_the_period_whole() -> None:
    got = windows(subscription(), at("2026-04-30T23:59:59"))
    assert got == [Window(period=APRIL, whole=APRIL, end=APRIL.end, invoiced=False)]


def test_nothing_is_due_before_the_start() -> None:
    assert windows(subscription(), APRIL.start) == []
    assert windows(subscription(), at("2026-01-01")) == []


def test_invoiced_periods_come_back_only_where_a_day_changed() -> None:
    invoiced = subscription(billed_through=MAY.end)
    assert windows(invoiced, at("2026-06-10")) == [
        Window(period=JUNE, whole=JUNE, end=at("2026-06-10"), invoiced=False)
    ]
    changed = (date(2026, 4, 30), date(2026, 6, 1), date(2025, 1, 1))
    assert windows(invoiced, at("2026-06-10"), changed=changed) == [
        Window(period=APRIL, whole=APRIL, end=APRIL.end, invoiced=True),
        Window(period=JUNE, whole=JUNE, end=at("2026-06-10"), invoiced=False),
    ]


def test_late_days_far_apart_bring_back_their_own_periods_only() -> None:
    old = subscription(start_at=at("1999-12-31"), billed_through=MAY.start)
    daily = Cadence(interval="day", count=1)
    due_now = windows_due(
        life_of(old),
        daily,
        billed_through=old.billed_through,
        cutoff=MAY.start,
        billed_to={},
        changed_days={date(2026, 4, 2), date(2000, 1, 1)},
    )
    assert [window.period.start for window in due_now] == [at("2000-01-01"), at("2026-04-02")]


def test_a_day_that_two_periods_share_brings_both_back() -> None:
    noon = subscription(start_at=at("2026-04-01T12:00"), billed_through=at("2026-06-01T12:00"))
    got = windows(noon, at("2026-06-01T12:00"), changed=(date(2026, 5, 1),))
    assert [(window.period.start, window.invoiced) for window in got] == [
        (at("2026-04-01T12:00"), True),
        (at("2026-05-01T12:00"), True),
    ]


def test_a_day_that_ends_in_an_open_period_is_not_late_there() -> None:
    noon = subscription(start_at=at("2026-04-01T12:00"), billed_through=at("2026-05-01T12:00"))
    got = windows(noon, at("2026-05-10"), changed=(date(2026, 5, 1),))
    assert [(window.period.start, window.invoiced) for window in got] == [
        (at("2026-04-01T12:00"), True),
        (at("2026-05-01T12:00"), False),
    ]


def test_an_earlier_cutoff_gives_nothing_back() -> None:
    billed_to = {APRIL.start: at("2026-04-20")}
    assert windows(subscription(), at("2026-04-10"), billed_to) == [
        Window(period=APRIL, whole=APRIL, end=at("2026-04-20"), invoiced=False)
    ]


def test_an_ended_subscription_is_billed_to_its_end_and_no_further() -> None:
    ended = subscription(end_at=at("2026-04-15"))
    short = Period(start=APRIL.start, end=at("2026-04-15"))
    assert windows(ended, at("2026-08-01")) == [
        Window(period=short, whole=APRIL, end=short.end, invoiced=False)
    ]


def test_the_marker_moves_to_the_last_whole_period() -> None:
    fresh = subscription()
    assert billed_through_after(None, windows(fresh, at("2026-04-20"))) is None
    assert billed_through_after(None, windows(fresh, at("2026-05-20"))) == APRIL.end
    invoiced = subscription(billed_through=MAY.end)
    adjusted = windows(invoiced, at("2026-06-10"), changed=(date(2026, 4, 30),))
    assert billed_through_after(MAY.end, adjusted) == MAY.end
