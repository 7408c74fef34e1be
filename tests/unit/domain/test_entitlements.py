from datetime import datetime
from decimal import Decimal

import msgspec
import pytest

from abaxus_core.domain.entitlements import (
    BooleanEntitlement,
    CustomEntitlement,
    Entitlement,
    Grant,
    LimitEntitlement,
    check_entitlements,
    combine,
)
from abaxus_core.errors import InvalidInput
from tests.unit.domain.samples import at

EARLY, LATE = at("2026-01-01"), at("2026-03-01")


def grant(plan_id: str, entitlement: Entitlement, started_at: datetime = EARLY) -> Grant:
    return Grant(
        plan_id=plan_id,
        subscription_id=f"sub_{plan_id}",
        started_at=started_at,
        entitlement=entitlement,
    )


def limit(number: str | None) -> LimitEntitlement:
    return LimitEntitlement(
        feature_key="calls", limit=None if number is None else Decimal(number), metric_key="calls"
    )


def boolean(value: bool) -> BooleanEntitlement:
    return BooleanEntitlement(feature_key="sso", value=value)


def custom(value: str) -> CustomEntitlement:
    return CustomEntitlement(feature_key="support", value=value)


def test_limits_add_up() -> None:
    got = combine("calls", [grant("a", limit("100")), grant("b", limit("50.5"))], Decimal(120))
    assert (got.limit, got.remaining, got.exceeded) == (Decimal("150.5"), Decimal("30.5"), False)
    assert (got.granted, got.metric_key, got.source_plans) == (True, "calls", ("a", "b"))


@pytest.mark.parametrize(
    ("used", "remaining", "exceeded"), [("150", "0", False), ("150.1", "0", True)]
)
def test_nothing_is_left_before_it_is_exceeded(used: str, remaining: str, exceeded: bool) -> None:
    got = combine("calls", [grant("a", limit("150"))], Decimal(used))
    assert (got.remaining, got.exceeded) == (Decimal(remaining), exceeded)


def test_unlimited_wins_over_any_sum() -> None:
    got = combine("calls", [grant("a", limit("100")), grant("b", limit(None))], Decimal(10**9))
    assert (got.granted, got.limit, got.remaining, got.exceeded) == (True, None, None, False)


def test_a_limit_of_zero_grants_nothing() -> None:
    got = combine("calls", [grant("a", limit("0"))], Decimal(1))
    assert (got.granted, got.exceeded) == (False, True)


def test_booleans_or() -> None:
    got = combine("sso", [grant("a", boolean(False)), grant("b", boolean(True))], Decimal(0))
    assert (got.type, got.granted, got.source_plans) == ("boolean", True, ("b",))
    assert not combine("sso", [grant("a", boolean(False))], Decimal(0)).granted


def test_custom_comes_from_the_most_recently_started() -> None:
    grants = [grant("b", custom("gold"), LATE), grant("a", custom("silver"))]
    got = combine("support", grants, Decimal(0))
    assert (got.type, got.granted, got.value) == ("custom", True, "gold")


def test_no_grant_grants_nothing() -> None:
    got = combine("sso", [], Decimal(0))
    assert (got.type, got.granted, got.source_plans) == (None, False, ())


def test_the_most_recent_type_counts_where_plans_disagree() -> None:
    got = combine("calls", [grant("a", limit("5")), grant("b", custom("many"), LATE)], Decimal(0))
    assert (got.type, got.value, got.source_plans) == ("custom", "many", ("b",))


def test_a_feature_appears_once_in_a_plan() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_entitlements([boolean(True), boolean(False)])
    assert refused.value.field == "entitlements[1].feature_key"


def test_a_limit_is_not_negative() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_entitlements([boolean(True), limit("-1")])
    assert refused.value.field == "entitlements[1].limit"


@pytest.mark.parametrize("entitlement", [limit("2.50"), limit(None), boolean(True), custom("x")])
def test_an_entitlement_is_the_same_after_it_was_stored(entitlement: Entitlement) -> None:
    stored = msgspec.json.encode(entitlement)
    assert msgspec.json.decode(stored, type=Entitlement) == entitlement
