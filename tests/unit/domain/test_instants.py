from datetime import UTC, date, datetime

import pytest

from abaxus_core.domain.instants import (
    check_instant,
    end_of,
    parse_day_or_instant,
    parse_instant,
    start_of,
    text_of,
)
from abaxus_core.errors import InvalidInput
from tests.unit.domain.samples import at


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-04-30T00:00:00Z", "2026-04-30T00:00:00"),
        ("2026-04-30t00:00:00.123456+02:00", "2026-04-29T22:00:00.123456"),
        ("2026-04-30 23:59:59-00:00", "2026-04-30T23:59:59"),
    ],
)
def test_an_offset_is_turned_into_utc(text: str, instant: str) -> None:
    assert parse_instant(text) == at(instant)
    assert parse_instant(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["2026-04-30T00:00:00", "2026-04-30", "20260430T000000Z", "2026-W18-4T00:00:00Z", "now", "",
     "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
     "1899-12-31T23:59:59Z", "9000-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_naive_malformed_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_instant(text, "timestamp")
    assert refused.value.field == "timestamp"


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(InvalidInput):
        check_instant(datetime(2026, 4, 30), "timestamp")  # noqa: DTZ001 - the point of the test


def test_a_day_stands_for_the_whole_of_it() -> None:
    day = parse_day_or_instant("2026-04-30")
    assert day == date(2026, 4, 30)
    assert start_of(day) == at("2026-04-30")
    assert end_of(day) == at("2026-05-01")


def test_an_instant_stands_for_itself() -> None:
    instant = parse_day_or_instant("2026-04-30T12:00:00Z")
    assert start_of(instant) == end_of(instant) == at("2026-04-30T12:00")


@pytest.mark.parametrize("text", ["2026-13-01", "2026/04/30", "+026-04-30", "1899-12-31"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_day_or_instant(text, "cutoff_date")


def test_text_has_a_z_and_fractions_only_where_needed() -> None:
    assert text_of(at("2026-04-30T12:00:00.5")) == "2026-04-30T12:00:00.500000Z"
    assert text_of(at("2026-04-30T12:00")) == "2026-04-30T12:00:00Z"
