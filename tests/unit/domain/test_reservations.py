"""What room there is, and what may still become of a reservation."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from abaxus_core.domain.entitlement_documents import Measure, Metering
from abaxus_core.domain.entitlements import Combined
from abaxus_core.domain.periods import Period
from abaxus_core.domain.reservations import Room, Standing, Tally, room

MAY = Period(start=datetime(2026, 5, 1, tzinfo=UTC), end=datetime(2026, 6, 1, tzinfo=UTC))
SHIFTED = Period(start=datetime(2026, 5, 5, tzinfo=UTC), end=datetime(2026, 6, 5, tzinfo=UTC))
NOW = datetime(2026, 5, 10, tzinfo=UTC)
TOKENS = Metering(metric_no=1, aggregation="sum")
CALLS = Metering(metric_no=2, aggregation="count")


def measure(metering: Metering = TOKENS, period: Period = MAY) -> Measure:
    return Measure(customer_no=1, metering=metering, period=period)


def standing(limit: int | None, used: str, *measures: Measure) -> Standing:
    combined = Combined(
        feature_key="tokens",
        type="limit",
        limit=None if limit is None else Decimal(limit),
        current_usage=Decimal(used),
    )
    return Standing(combined=combined, measures=measures or (measure(),))


def available(seen: Standing, *, held: str = "0", **fields: object) -> str:
    left = room(seen, Tally(held=Decimal(held), **fields), NOW).available
    assert left is not None
    return str(left)


@pytest.mark.parametrize(
    ("limit", "used", "held", "left"),
    [
        (10, "0", "0", "10"),
        (10, "2.5", "3", "4.5"),
        (10, "10", "0", "0"),
        (10, "11", "0", "0"),
        (10, "8", "5", "0"),
        (10, "-5", "0", "15"),
        (0, "0", "0", "0"),
    ],
)
def test_what_is_left(limit: int, used: str, held: str, left: str) -> None:
    assert available(standing(limit, used), held=held) == left


def test_what_counts_in_two_periods_is_taken_twice() -> None:
    seen = standing(100, "1", measure(), measure(period=SHIFTED))
    assert Decimal(available(seen, held="9.5")) == 40
    thrice = standing(100, "0", *(measure(period=period) for period in (MAY, SHIFTED)), measure())
    assert Decimal(available(thrice)) == Decimal("33.3333333333")


def test_two_metrics_are_taken_once_each() -> None:
    assert available(standing(100, "0", measure(), measure(CALLS)), held="10") == "90"


def test_nothing_is_left_where_nobody_grants_and_all_where_it_is_unlimited() -> None:
    nobody = Standing(combined=Combined(feature_key="tokens"), measures=())
    assert available(nobody) == "0"
    unlimited = room(standing(None, "7"), Tally(held=Decimal(9)), NOW)
    assert unlimited == Room(
        limit=None, current_usage=Decimal(7), reserved=Decimal(9), available=None
    )
    assert unlimited.holds(Decimal(10) ** 27)


def test_what_was_committed_without_an_event_counts_until_its_time() -> None:
    committed = {"committed": Decimal(4), "held": "1"}
    assert available(standing(10, "0"), committed_until=MAY.end, **committed) == "5"
    assert available(standing(10, "0"), committed_until=NOW, **committed) == "9"


def test_time_does_not_go_back() -> None:
    later = NOW + timedelta(seconds=1)
    assert Tally().instant(NOW) == NOW
    assert Tally(decided_at=later).instant(NOW) == later
    assert Tally(decided_at=NOW).instant(later) == later
