from decimal import Decimal
from typing import Any

import pytest

from abaxus_core.domain.charges import FlatFee, Volume
from abaxus_core.domain.entitlements import BooleanEntitlement
from abaxus_core.domain.plans import (
    CHARGES_MAX,
    PlanVersion,
    active_version,
    check_plan,
    check_subscribable,
    metric_keys_of,
    status_of,
)
from abaxus_core.errors import Conflict, InvalidInput
from tests.unit.domain.samples import BASE_FEE, GROWTH_V1, at, per_unit, plan, tier

NOW = at("2026-06-01")
ONE = plan()
TWO = plan(version=2, effective_from=at("2026-05-01"))
THREE = plan(version=3, effective_from=at("2026-07-01"))
OPEN_TIERS = Volume(id="chg_1", metric_key="calls", tiers=(tier("5", "1"), tier("10", "1")))


def test_statuses() -> None:
    versions = [ONE, TWO, THREE]
    assert [status_of(version, versions, NOW) for version in versions] == [
        "superseded",
        "active",
        "scheduled",
    ]


def test_a_deprecated_version_makes_the_one_before_active_again() -> None:
    deprecated = plan(version=2, effective_from=at("2026-05-01"), deprecated_at=NOW)
    versions = [ONE, deprecated]
    assert [status_of(version, versions, NOW) for version in versions] == ["active", "deprecated"]
    assert active_version(versions, at("2026-05-15")) == deprecated


def test_a_plan_may_have_no_active_version() -> None:
    assert active_version([THREE], NOW) is None


def test_a_deprecated_version_takes_no_subscriptions() -> None:
    check_subscribable(ONE, NOW)
    with pytest.raises(Conflict) as refused:
        check_subscribable(plan(deprecated_at=NOW), NOW)
    assert refused.value.code == "PLAN_VERSION_DEPRECATED"


def test_the_metrics_that_it_prices() -> None:
    assert metric_keys_of(plan(BASE_FEE, GROWTH_V1).charges) == {"calls"}


@pytest.mark.parametrize(
    ("version", "field"),
    [
        (plan(charges=()), "charges"),
        (plan(*[BASE_FEE] * (CHARGES_MAX + 1)), "charges"),
        (plan(BASE_FEE, OPEN_TIERS), "charges[1].tiers[1].up_to"),
        (plan(per_unit("-1")), "charges[0].unit_price"),
        (plan(FlatFee(id="chg_1", amount=Decimal("NaN"))), "charges[0].amount"),
        (plan(currency="xau"), "currency"),
        (
            plan(entitlements=(BooleanEntitlement(feature_key="sso", value=True),) * 2),
            "entitlements[1].feature_key",
        ),
    ],
)
def test_what_cannot_be_sold_says_where(version: PlanVersion, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_plan(version)
    assert refused.value.field == field


@pytest.mark.parametrize("change", [{}, {"currency": "jpy"}])
def test_a_good_plan_passes(change: dict[str, Any]) -> None:
    check_plan(plan(**change))
