from datetime import date, datetime, timedelta

import pytest

from abaxus_core.domain.periods import (
    CADENCES,
    PERIODS_MAX,
    Cadence,
    Interval,
    billing_period_of,
    boundary,
    cadence_of,
    period_at,
    period_number,
    periods_between,
    resolve_cutoff,
    snap,
    whole_days,
)
from abaxus_core.errors import InvalidInput
from tests.unit.domain.samples import APRIL, MONTHLY, at

NOW = at("2026-04-30T12:00")


@pytest.mark.parametrize("name", CADENCES)
def test_names_go_in_and_out(name: str) -> None:
    assert billing_period_of(cadence_of(name)) == name


def test_an_unnamed_cadence_stays_as_it_is() -> None:
    two_months = Cadence(interval="month", count=2)
    assert billing_period_of(cadence_of(two_months)) == two_months


@pytest.mark.parametrize("count", [0, -1, 367])
def test_the_count_is_bounded(count: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        cadence_of(Cadence(interval="day", count=count))
    assert refused.value.field == "billing_period.count"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        cadence_of("fortnightly")
    assert refused.value.field == "billing_period"


@pytest.mark.parametrize(
    ("anchor", "interval", "count", "starts"),
    [
        ("2027-01-31", "month", 1, ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30"]),
        ("2028-01-31", "month", 1, ["2028-01-31", "2028-02-29", "2028-03-31"]),
        ("2027-11-30", "month", 3, ["2027-11-30", "2028-02-29", "2028-05-30"]),
        ("2028-02-29", "year", 1, ["2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28",
                                   "2032-02-29"]),
        ("2026-04-01", "week", 2, ["2026-04-01", "2026-04-15", "2026-04-29"]),
        ("2026-12-31", "day", 1, ["2026-12-31", "2027-01-01"]),
    ],
)  # fmt: skip
def test_every_boundary_is_computed_from_the_anchor(
    anchor: str, interval: Interval, count: int, starts: list[str]
) -> None:
    cadence = Cadence(interval=interval, count=count)
    got = [boundary(at(anchor), cadence, n).date().isoformat() for n in range(len(starts))]
    assert got == starts


def test_the_time_of_day_is_kept() -> None:
    anchor = at("2026-01-31T15:30:00.25")
    assert boundary(anchor, MONTHLY, 1) == at("2026-02-28T15:30:00.25")
    assert period_number(anchor, MONTHLY, at("2026-02-28T15:30:00.249999")) == 0
    assert period_number(anchor, MONTHLY, at("2026-02-28T15:30:00.25")) == 1


def test_periods_go_on_before_the_anchor() -> None:
    holding = period_at(at("2026-03-31"), MONTHLY, at("2026-03-30"))
    assert (holding.start, holding.end) == (at("2026-02-28"), at("2026-03-31"))


def test_periods_between_are_those_that_overlap() -> None:
    anchor = at("2026-01-31")
    got = periods_between(anchor, MONTHLY, at("2026-02-28"), at("2026-04-30"))
    assert [part.start for part in got] == [at("2026-02-28"), at("2026-03-31")]
    assert periods_between(anchor, MONTHLY, at("2026-03-01"), at("2026-03-01")) == []


def test_periods_between_are_bounded() -> None:
    start = at("2000-01-01")
    most = start + timedelta(days=PERIODS_MAX)
    assert len(periods_between(start, CADENCES["daily"], start, most)) == PERIODS_MAX
    with pytest.raises(InvalidInput):
        periods_between(start, CADENCES["daily"], start, most + timedelta(days=1))


@pytest.mark.parametrize("count", [1, 366])
@pytest.mark.parametrize("interval", ["day", "week", "month", "year"])
def test_the_last_period_of_all_does_not_overflow(interval: Interval, count: int) -> None:
    cadence = Cadence(interval=interval, count=count)
    assert period_at(at("1900-01-01"), cadence, at("8999-12-31T23:59:59.999999"))


@pytest.mark.parametrize(
    ("value", "cutoff"),
    [
        (date(2026, 4, 30), at("2026-05-01")),
        (at("2026-05-01T12:00"), at("2026-05-01T12:00")),
        (date(2020, 2, 29), at("2020-03-01")),
    ],
)
def test_a_cutoff_is_an_exclusive_end(value: date | datetime, cutoff: datetime) -> None:
    assert resolve_cutoff(value, NOW) == cutoff


@pytest.mark.parametrize("value", [date(2026, 5, 1), at("2026-05-01T12:00:00.000001")])
def test_a_cutoff_beyond_24_hours_is_refused(value: date | datetime) -> None:
    with pytest.raises(InvalidInput) as refused:
        resolve_cutoff(value, NOW)
    assert (refused.value.code, refused.value.field) == ("CUTOFF_IN_FUTURE", "cutoff_date")


@pytest.mark.parametrize(
    ("cutoff", "snapped"),
    [
        ("2026-04-30T23:59:58.999999", "2026-04-30T23:59:58.999999"),
        ("2026-04-30T23:59:59", "2026-05-01T00:00:00"),
        ("2026-04-30T23:59:59.999999", "2026-05-01T00:00:00"),
        ("2026-05-01T00:00:00", "2026-05-01T00:00:00"),
        ("2026-05-01T00:00:01", "2026-05-01T00:00:01"),
    ],
)
def test_the_last_second_snaps_to_the_end(cutoff: str, snapped: str) -> None:
    assert snap(at(cutoff), APRIL.end) == at(snapped)


def test_a_started_day_counts_whole() -> None:
    assert whole_days(at("2026-04-30"), at("2026-04-30")) == 0
    assert whole_days(at("2026-04-29T23:59:59.999999"), at("2026-05-01")) == 2
    assert whole_days(at("2026-05-02"), at("2026-05-01")) == 0
