from decimal import Decimal, Inexact

import pytest

from abaxus_core.domain.decimals import (
    check_decimal,
    check_not_negative,
    divide,
    exact,
    plain,
    round_half_away,
    shift,
)
from abaxus_core.errors import InvalidInput


@pytest.mark.parametrize(
    ("number", "decimals", "expected"),
    [
        ("0.125", 2, "0.13"),
        ("-0.125", 2, "-0.13"),
        ("0.124999999999999999999999999999999", 2, "0.12"),
        ("2.5", 0, "3"),
        ("-2.5", 0, "-3"),
        ("150", -2, "200"),
    ],
)
def test_halves_go_away_from_zero(number: str, decimals: int, expected: str) -> None:
    assert round_half_away(Decimal(number), decimals) == Decimal(expected)


@pytest.mark.parametrize(
    "number", ["9999999999999999999999999999.9999999999", "-0.0000000001", "1E+27", "0"]
)
def test_what_the_columns_hold_is_taken(number: str) -> None:
    assert check_decimal(Decimal(number), "value") == Decimal(number)


@pytest.mark.parametrize(
    "number",
    ["NaN", "sNaN", "Infinity", "-Infinity", "1E+28", "-1E+28", "0.00000000001", "1E+1000000",
     "1E-1000000"],
)  # fmt: skip
def test_what_the_columns_do_not_hold_is_refused_by_field(number: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_decimal(Decimal(number), "tiers[1].up_to")
    assert refused.value.field == "tiers[1].up_to"


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(InvalidInput):
        check_not_negative(Decimal("-0.01"), "unit_price")


def test_arithmetic_is_exact_far_beyond_28_digits() -> None:
    quantity = Decimal("9999999999999999999999999999.9999999999")
    with exact():
        assert quantity * quantity / quantity == quantity


def test_a_lost_digit_raises() -> None:
    with exact(), pytest.raises(Inexact):
        Decimal(1) / Decimal(3)


def test_the_default_context_is_left_alone() -> None:
    with exact():
        pass
    assert Decimal(1) / Decimal(3) == Decimal("0.3333333333333333333333333333")


def test_a_division_that_is_rounded_next_is_taken_far_enough() -> None:
    assert round_half_away(divide(Decimal(2), Decimal(3)), 30) == Decimal("0." + "6" * 29 + "7")


def test_shifting_keeps_every_digit() -> None:
    number = Decimal("12345678901234567890123456789012345678901234567890.1234567891")
    assert shift(shift(number, 4), -4) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [("1E+3", "1000"), ("100.00", "100"), ("0E-10", "0"), ("-0", "0"), ("-1.50", "-1.5"),
     ("1374923", "1374923"), ("0.0001", "0.0001"), ("1E-10", "0.0000000001")],
)  # fmt: skip
def test_plain_notation(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text
