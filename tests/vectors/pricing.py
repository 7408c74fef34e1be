"""Pricing cases: amounts of models, lines of a period billed in slices, rounding, allocation."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal, DecimalException
from types import MappingProxyType
from typing import Any

import msgspec

from abaxus_core.domain.charges import Charge, FlatFee, Package, Tier, UsageCharge
from abaxus_core.domain.decimals import ZERO, divide, exact, round_half_away, shift
from abaxus_core.domain.fees import Fee
from abaxus_core.domain.instants import day_start
from abaxus_core.domain.invoices import Line
from abaxus_core.domain.lives import Segment
from abaxus_core.domain.money import (
    allocate,
    exponent,
    from_minor,
    normalise_currency,
    to_minor,
    whole_minor,
)
from abaxus_core.domain.periods import Period
from abaxus_core.domain.pricing import rate, tier_reached
from abaxus_core.domain.subscriptions import Terms
from abaxus_core.domain.true_up import (
    Billed,
    Due,
    Usage,
    fee_key,
    fee_lines,
    key_of,
    usage_lines,
)
from abaxus_core.domain.windows import Window
from abaxus_core.errors import InvalidInput
from tests.vectors.case import Case, NotApplicable
from tests.vectors.models import METRIC, amount_of, charge_of

CURRENCIES: Mapping[int, str] = MappingProxyType({0: "jpy", 2: "usd", 3: "kwd", 4: "clf"})

TERMS = Terms(plan_id="vector", plan_version=1)
PERIOD = Period(start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 2, 1, tzinfo=UTC))
WITHIN = day_start(PERIOD.start.date().replace(day=15))


def currency_of(decimals: int) -> str:
    """Return a currency whose minor unit has that many decimals."""
    if decimals not in CURRENCIES:
        raise NotApplicable("minor-unit")
    return CURRENCIES[decimals]


def _amount(case: Case) -> dict[str, Any]:
    model = case.input["model"]
    quantity = _transformed(case)
    if quantity < 0 and Decimal(case.expected.get("amount", 0)) < 0:
        raise NotApplicable("negative-usage")
    amount = amount_of(model, quantity, case.input.get("events"))
    return {"amount": amount, "unit_amount": _unit_amount(model, quantity, amount)}


def _transformed(case: Case) -> Decimal:
    quantity = Decimal(case.input["quantity"])
    transform = case.input.get("unit_transform")
    if transform is None:
        return quantity
    factor = Decimal(transform["factor"])
    if transform["operation"] == "multiply":
        with exact():
            return quantity * factor
    return _divided(quantity, factor, transform.get("rounding") or "none")


def _divided(quantity: Decimal, factor: Decimal, rounding: str) -> Decimal:
    """The quantity in larger units, as a caller would send it."""
    match rounding:
        case "ceil" | "up":
            # A started unit counts whole: what a package does, at a price of one.
            whole = Package(
                id="chg_unit", metric_key=METRIC, package_size=factor, package_price=Decimal(1)
            )
            return rate(whole, quantity).exact_amount
        case "floor" | "down":
            return divide(quantity, factor).to_integral_value(ROUND_FLOOR)
        case "half_up" | "round":
            return round_half_away(divide(quantity, factor), 0)
    return divide(quantity, factor)


def _unit_amount(model: Mapping[str, Any], quantity: Decimal, amount: Decimal) -> Decimal:
    paid = quantity - Decimal(model.get("free_units") or 0)
    return divide(amount, paid) if paid > 0 else ZERO


def _amount_per_bucket(case: Case) -> dict[str, Any]:
    with exact():
        amounts = [amount_of(case.input["model"], Decimal(q)) for q in case.input["quantities"]]
        return {"amount": sum(amounts, ZERO)}


def _tier_part(case: Case) -> dict[str, Any]:
    stated = case.input["tier"]
    below = [{"up_to": stated["lower"], "unit_amount": "0"}] if Decimal(stated["lower"]) else []
    above = [{"up_to": None, "unit_amount": "0"}] if stated["up_to"] is not None else []
    charge = charge_of({"type": "graduated", "tiers": [*below, stated, *above]})
    shares = rate(charge, Decimal(case.input["quantity"])).breakdown or ()
    for share in shares:
        if share.tier == len(below) + 1:
            usage_amount = share.amount - share.flat_amount
            return {"units": share.quantity, "usage_amount": usage_amount, "amount": share.amount}
    return {"units": ZERO, "usage_amount": ZERO, "amount": ZERO}


def _tier_index(case: Case) -> dict[str, Any]:
    charge = charge_of({"type": "volume", "tiers": case.input["tiers"]})
    assert not isinstance(charge, FlatFee)
    tiers = [
        Tier(up_to=None if t["up_to"] is None else Decimal(t["up_to"]), unit_price=ZERO)
        for t in case.input["tiers"]
    ]
    return {"index": tier_reached(tiers, Decimal(case.input["quantity"])) - 1}


def rounded(case: Case) -> dict[str, Any]:
    """Return the amount at the case's decimals, in the only mode there is."""
    return {"amount": round_as_stated(Decimal(case.input["amount"]), case.input)}


def round_as_stated(number: Decimal, rounding: Mapping[str, Any]) -> Decimal:
    """Return a number rounded half away from zero; NotApplicable when another mode is asked for."""
    if rounding.get("mode", "half_up") != "half_up":
        raise NotApplicable("rounding-mode")
    return round_half_away(number, int(rounding["decimals"]))


def _sum_of_rounded(case: Case) -> dict[str, Any]:
    currency = currency_of(case.input["decimals"])
    amounts = [Decimal(amount) for amount in case.input["amounts"]]
    amounts += [Decimal(one) * Decimal(other) for one, other in case.input.get("products", [])]
    return {"total": from_minor(sum(to_minor(amount, currency) for amount in amounts), currency)}


def _allocate(case: Case) -> dict[str, Any]:
    decimals = case.input["decimals"]
    total = shift(Decimal(case.input["amount"]), decimals)
    weights = case.input["weights"]
    parts = allocate(int(total), [Decimal(weight["weight"]) for weight in weights])
    pairs = zip(weights, parts, strict=True)
    return {"amounts": {w["key"]: shift(Decimal(part), -decimals) for w, part in pairs}}


def _to_minor_units(case: Case) -> dict[str, Any]:
    return {"minor": whole_minor(Decimal(case.input["amount"]), _stated_currency(case))}


def _stated_currency(case: Case) -> str:
    decimals = case.input["decimals"]
    if "currency" not in case.input:
        return currency_of(decimals)
    currency = normalise_currency(case.input["currency"])
    if exponent(currency) != decimals:
        raise NotApplicable("minor-unit")
    return currency


def _reject_amount(case: Case) -> dict[str, Any]:
    return {"rejected": _refuses(lambda: _to_minor_units(case))}


def _reject(case: Case) -> dict[str, Any]:
    if Decimal(case.input["quantity"]) < 0:
        raise NotApplicable("negative-usage")
    return _reject_model(case)


def _reject_model(case: Case) -> dict[str, Any]:
    return {"rejected": _refuses(lambda: amount_of(case.input["model"], Decimal(1)))}


def _refuses(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (InvalidInput, msgspec.ValidationError, DecimalException, KeyError, TypeError):
        return True
    return False


def _line(case: Case) -> dict[str, Any]:
    if Decimal(case.input.get("discount_percent") or 0) != 0:
        raise NotApplicable("coupon")
    currency = currency_of(case.input["decimals"])
    charge = charge_of(case.input["model"])
    gross = from_minor(_gross_minor(case, charge, currency), currency)
    _refuse_limits(case, gross)
    return {"gross": gross, "discount": ZERO, "minimum_topup": ZERO, "total": gross}


def _gross_minor(case: Case, charge: Charge, currency: str) -> int:
    """The slice's lines, by the true-up principle: owed so far less what was billed before."""
    ends_period = case.input["position"] in ("single", "last")
    window = Window(
        period=PERIOD,
        whole=PERIOD,
        end=PERIOD.end if ends_period else WITHIN,
        invoiced=False,
    )
    billed = Billed(amount_minor=_billed_minor(case, charge, currency))
    if isinstance(charge, FlatFee):
        lines = _fee_lines(window, charge, billed, currency)
    else:
        lines = _usage_lines(case, window, charge, billed, currency)
    gross = sum(line.amount_minor for line in lines)
    if case.input["model"]["type"] == "volume" and not ends_period and gross:
        raise NotApplicable("volume-at-end")
    return gross


def _fee_lines(window: Window, charge: FlatFee, billed: Billed, currency: str) -> list[Line]:
    fee = Fee(start=PERIOD.start, terms=TERMS, charge=charge)
    before = {fee_key("sub_vector", window, fee): billed}
    return fee_lines("sub_vector", window, [fee], billed=before, currency=currency)


def _usage_lines(
    case: Case, window: Window, charge: UsageCharge, billed: Billed, currency: str
) -> list[Line]:
    due = Due(
        subscription_id="sub_vector",
        window=window,
        segment=Segment(start=PERIOD.start, end=PERIOD.end, terms=TERMS),
        charges=(charge,),
    )
    used = Decimal(case.input["previous_quantity"]) + Decimal(case.input["quantity"])
    return usage_lines(
        due,
        usage={METRIC: Usage(quantity=used)},
        billed={key_of(due, charge): billed},
        currency=currency,
        watermark=0,
    )


def _billed_minor(case: Case, charge: Charge, currency: str) -> int:
    """What the slices before this one billed, by our own rules where the case leaves it open."""
    starts_period = case.input["position"] in ("single", "first")
    if isinstance(charge, FlatFee):
        billed = charge.billing == "in_advance" and not starts_period
        return to_minor(charge.amount, currency) if billed else 0
    if case.input["model"]["type"] == "volume":
        return to_minor(Decimal(case.input["previous_billed"]), currency)
    before = Decimal(case.input["previous_quantity"])
    if starts_period and before == 0:
        return 0
    return to_minor(rate(charge, before).exact_amount, currency)


def _refuse_limits(case: Case, gross: Decimal) -> None:
    """A limit that does not come into play changes nothing."""
    spent = Decimal(case.input["previous_billed"]) + gross
    minimum = case.input.get("minimum")
    ends_period = case.input["position"] in ("single", "last")
    if minimum is not None and ends_period and spent < Decimal(minimum):
        raise NotApplicable("minimum-commitment")
    maximum = case.input.get("maximum")
    if maximum is not None and spent > Decimal(maximum):
        raise NotApplicable("maximum-spend")


def _commitment(case: Case) -> dict[str, Any]:
    raise NotApplicable("minimum-commitment")


def _prorated_event_walk(case: Case) -> dict[str, Any]:
    raise NotApplicable("prorated-usage")


KINDS: Mapping[str, Callable[[Case], dict[str, Any]]] = {
    "amount": _amount,
    "amount_per_bucket": _amount_per_bucket,
    "tier_part": _tier_part,
    "tier_index": _tier_index,
    "line": _line,
    "round": rounded,
    "sum_of_rounded": _sum_of_rounded,
    "true_up": _commitment,
    "allocate": _allocate,
    "to_minor_units": _to_minor_units,
    "reject": _reject,
    "reject_amount": _reject_amount,
    "reject_model": _reject_model,
    "prorated_event_walk": _prorated_event_walk,
}
