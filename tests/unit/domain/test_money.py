from decimal import Decimal

import pytest

from abaxus_core.domain.money import (
    allocate,
    exponent,
    from_minor,
    normalise_currency,
    share,
    to_minor,
    whole_minor,
)
from abaxus_core.errors import InvalidInput


@pytest.mark.parametrize("code", ["usd", "USD", "Usd"])
def test_any_case_in_lower_out(code: str) -> None:
    assert normalise_currency(code) == "usd"


@pytest.mark.parametrize("code", ["", "us", "usdd", "zzz", "xau", "XTS", "xxx", "ﬃ", "İsk", "12"])
def test_what_is_no_currency_with_minor_units_is_refused(code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        normalise_currency(code)
    assert refused.value.field == "currency"


@pytest.mark.parametrize(("code", "decimals"), [("jpy", 0), ("usd", 2), ("kwd", 3), ("clf", 4)])
def test_exponents(code: str, decimals: int) -> None:
    assert exponent(code) == decimals


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("142.745", "usd", 14275),
        ("-142.745", "usd", -14275),
        ("0.5", "jpy", 1),
        ("1.0005", "kwd", 1001),
        ("123456789012345678901234567890.125", "usd", 12345678901234567890123456789013),
    ],
)
def test_rounded_once_to_the_minor_unit(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor


def test_there_and_back() -> None:
    assert from_minor(15775, "usd") == Decimal("157.75")
    assert str(from_minor(15770, "usd")) == "157.70"
    assert from_minor(-5, "jpy") == Decimal(-5)


@pytest.mark.parametrize("amount", ["1.001", "NaN", "Infinity", "92233720368547758.08"])
def test_a_whole_amount_is_not_rounded_and_fits_64_bits(amount: str) -> None:
    with pytest.raises(InvalidInput):
        whole_minor(Decimal(amount), "usd")


def test_the_64_bit_edges() -> None:
    assert whole_minor(Decimal("92233720368547758.07"), "usd") == 2**63 - 1
    assert whole_minor(Decimal("-92233720368547758.08"), "usd") == -(2**63)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (5, "1 1 1", [2, 2, 1]),
        (-5, "1 1 1", [-2, -2, -1]),
        (1, "100 1", [1, 0]),
        (100, "1 2", [33, 67]),
        (10, "0 0.5 0.5", [0, 5, 5]),
        (0, "1 1", [0, 0]),
    ],
)
def test_the_largest_remainder_gets_the_rest(total: int, weights: str, parts: list[int]) -> None:
    assert allocate(total, [Decimal(weight) for weight in weights.split()]) == parts


@pytest.mark.parametrize("weights", [["0", "0"], ["1", "-1"]])
def test_weights_that_say_nothing_are_refused(weights: list[str]) -> None:
    with pytest.raises(InvalidInput):
        allocate(5, [Decimal(weight) for weight in weights])


def test_a_share_is_exact_until_it_is_rounded() -> None:
    assert to_minor(share(Decimal("0.05"), 3, 6), "usd") == 3
