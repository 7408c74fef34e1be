"""Proration cases: shares of a fee by whole days of its period, and cycles billed in advance."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from abaxus_core.domain.amendments import Amendment
from abaxus_core.domain.charges import FlatFee
from abaxus_core.domain.decimals import ZERO, divide, exact, round_half_away
from abaxus_core.domain.fees import fees_of, step_of
from abaxus_core.domain.instants import ONE_DAY
from abaxus_core.domain.lives import life_of
from abaxus_core.domain.money import share
from abaxus_core.domain.periods import Period, periods_between, whole_days
from abaxus_core.domain.pricing import amount_of
from abaxus_core.domain.proration import days_in, remaining_days, rest_of
from abaxus_core.domain.subscriptions import Subscription, Terms
from tests.vectors.calendars import billing_anchor, cadence_of, day, instant
from tests.vectors.case import Case, NotApplicable

Answer = dict[str, Any]


def _period(case: Case) -> Period:
    return Period(start=instant(case.input["period_start"]), end=instant(case.input["period_end"]))


def _whole_days_only(case: Case, *instants: datetime) -> None:
    """By the second is by the day where only whole days are counted."""
    if case.input["basis"] == "fixed_month":
        raise NotApplicable("fixed-month")
    if any((at - instants[0]) % ONE_DAY for at in instants):
        raise NotApplicable("second-basis")


def _portion(case: Case) -> Answer:
    part = _period(case)
    start, end = instant(case.input["from"]), instant(case.input["to"])
    _whole_days_only(case, part.start, part.end, start, end)
    fee = Decimal(case.input["amount"])
    covered = share(fee, whole_days(start, end), days_in(part))
    if end == part.end:
        assert covered == amount_of(rest_of(fee, part, start))
    return {"amount": round_half_away(covered, case.input["decimals"])}


def _change(case: Case) -> Answer:
    part, at = _period(case), instant(case.input["at"])
    _whole_days_only(case, part.start, part.end, at)
    if case.input.get("new_period") == "starts_at_change":
        raise NotApplicable("restarted-cycle")
    decimals = case.input["decimals"]
    old, new = Decimal(case.input["old_amount"]), Decimal(case.input["new_amount"])
    kept, taken = _fees_after_change(part, at, old, new)
    with exact():
        credit = round_half_away(old - kept, decimals)
    charge = round_half_away(taken, decimals)
    cap = case.input.get("credit_cap")
    if cap is not None and credit > Decimal(cap):
        raise NotApplicable("credit-note")
    return {"credit": credit, "charge": charge, "net": charge - credit}


def _fees_after_change(
    part: Period, at: datetime, old: Decimal, new: Decimal
) -> tuple[Decimal, Decimal]:
    """What the period owes of the old plan's fee and of the new one's, by a prorated amendment."""
    charges = {
        Terms(plan_id="plan", plan_version=version): (FlatFee(id=f"fee_{version}", amount=amount),)
        for version, amount in ((1, old), (2, new))
    }
    totals = {1: ZERO, 2: ZERO}
    with exact():
        for fee in fees_of(life_of(_changed(part.start, at)), part, charges):
            totals[fee.terms.plan_version] += amount_of(step_of(fee, part))
    return totals[1], totals[2]


def _changed(start_at: datetime, at: datetime) -> Subscription:
    change = Amendment(
        id="amd_1",
        subscription_id="sub_1",
        type="plan_change",
        effective="immediate",
        effective_at=at,
        status="applied",
        plan_id="plan",
        plan_version=2,
        prorate=True,
        created_at=at,
    )
    return Subscription(
        id="sub_1",
        customer_no=1,
        customer_id="customer",
        plan_id="plan",
        plan_version=1,
        start_at=start_at,
        end_at=None,
        amendments=(change,),
        created_at=start_at,
    )


def _factor(case: Case) -> Answer:
    if case.input["basis"] == "fixed_month":
        raise NotApplicable("fixed-month")
    part = _period(case)
    start, end = instant(case.input["from"]), instant(case.input["to"])
    _whole_days_only(case, part.start, part.end, start, end)
    covered = remaining_days(part, start) if end == part.end else whole_days(start, end)
    factor = divide(Decimal(covered), Decimal(days_in(part)))
    return {
        "fraction": Fraction(covered, days_in(part)),
        "factor": round_half_away(factor, case.input.get("decimals", 9)),
    }


def _billing_cycles(case: Case) -> Answer:
    """Every period that starts by the target, as the share of its days that service covers."""
    started, target = day(case.input["start"]), day(case.input["target"])
    ended = case.input.get("end")
    cadence = cadence_of(case.input["interval"])
    anchor = billing_anchor(int(case.input["billing_day"]), started.date(), cadence)
    reach = target + ONE_DAY if ended is None else min(target + ONE_DAY, day(ended))
    cycles = ZERO
    for part in periods_between(anchor, cadence, started, reach):
        if part.start < started and part.end.day != int(case.input["billing_day"]):
            raise NotApplicable("stepwise-boundary")
        until = part.end if ended is None else min(part.end, day(ended))
        cycles += _covered(part, max(part.start, started), until, int(case.input["scale"]))
    return {"cycles": cycles}


def _covered(part: Period, start: datetime, end: datetime, decimals: int) -> Decimal:
    with exact():
        factor = divide(Decimal(whole_days(start, end)), Decimal(days_in(part)))
        return round_half_away(factor, decimals)


def _never(reason: str) -> Callable[[Case], Answer]:
    def refuse(case: Case) -> Answer:
        raise NotApplicable(reason)

    return refuse


KINDS: Mapping[str, Callable[[Case], Answer]] = {
    "portion": _portion,
    "change": _change,
    "factor": _factor,
    "billing_cycles": _billing_cycles,
    "fixed_month_days": _never("fixed-month"),
    "factor_over_cycle": _never("stepwise-boundary"),
    "commitment_top_up": _never("minimum-commitment"),
    "credit_cap": _never("credit-note"),
    "one_time": _never("one-time"),
}
