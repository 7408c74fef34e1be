"""Values that several domain tests start from."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from abaxus_core.domain.charges import Charge, FlatFee, Package, PerUnit, Tier, Tiered, Volume
from abaxus_core.domain.decimals import ZERO
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import CADENCES, Period
from abaxus_core.domain.plans import PlanVersion
from abaxus_core.domain.subscriptions import Subscription

MONTHLY = CADENCES["monthly"]
APRIL = Period(start=datetime(2026, 4, 1, tzinfo=UTC), end=datetime(2026, 5, 1, tzinfo=UTC))
MAY = Period(start=APRIL.end, end=datetime(2026, 6, 1, tzinfo=UTC))


def at(text: str) -> datetime:
    """`at("2026-04-30T12:00")`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def tier(up_to: str | None, unit_price: str, flat_amount: str | None = None) -> Tier:
    return Tier(
        up_to=None if up_to is None else Decimal(up_to),
        unit_price=Decimal(unit_price),
        flat_amount=None if flat_amount is None else Decimal(flat_amount),
    )


BASE_FEE = FlatFee(id="chg_base", description="Base fee", amount=Decimal("49.00"))
GROWTH_V1 = Tiered(
    id="chg_calls",
    metric_key="calls",
    tiers=(tier("100000", "0"), tier("1000000", "0.0001"), tier(None, "0.00005")),
)
GROWTH_V2 = Tiered(
    id="chg_calls",
    metric_key="calls",
    tiers=(tier("200000", "0"), tier("1000000", "0.00009"), tier(None, "0.00004")),
)

STEPS = (tier("1000", "0.10"), tier("10000", "0.07"), tier(None, "0.05"))
VOLUME = Volume(id="chg_1", metric_key="calls", tiers=STEPS)
PACKAGE = Package(
    id="chg_1", metric_key="calls", package_size=Decimal(1000), package_price=Decimal("8.00")
)


def per_unit(price: str = "1", metric_key: str = "calls") -> PerUnit:
    return PerUnit(id="chg_unit", metric_key=metric_key, unit_price=Decimal(price))


def subscription(**changes: Any) -> Subscription:
    """One that starts with April 2026."""
    made = Subscription(
        id="sub_1",
        customer_no=1,
        customer_id="acme",
        plan_id="growth",
        plan_version=1,
        start_at=APRIL.start,
        created_at=APRIL.start - timedelta(days=1),
    )
    return msgspec.structs.replace(made, **changes)


def metric(**changes: Any) -> Metric:
    made = Metric(
        metric_no=1,
        id="met_1",
        key="calls",
        name="Calls",
        aggregation="sum",
        created_at=APRIL.start,
    )
    return msgspec.structs.replace(made, **changes)


def plan(*charges: Charge, **changes: Any) -> PlanVersion:
    made = PlanVersion(
        plan_id="growth",
        version=1,
        name="Growth",
        currency="usd",
        cadence=MONTHLY,
        charges=charges or (BASE_FEE, GROWTH_V1),
        effective_from=APRIL.start,
        created_at=APRIL.start,
    )
    return msgspec.structs.replace(made, **changes)


def decimals(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts] or [ZERO]
