"""An allocation conserves its total, and rounding never strays by more than half a unit."""

from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from abaxus_core.domain.decimals import ZERO, check_decimal, exact, plain
from abaxus_core.domain.money import allocate, exponent, from_minor, to_minor
from tests.property.strategies import LARGEST, SMALLEST

currencies = st.sampled_from(["jpy", "usd", "kwd", "clf"])
amounts = st.decimals(min_value=SMALLEST, max_value=LARGEST, places=10)
weights = st.lists(
    st.decimals(min_value=0, max_value=10**6, places=10) | st.just(ZERO), min_size=1, max_size=8
)


@given(st.integers(-(10**40), 10**40), weights)
def test_the_parts_sum_to_the_whole(total: int, parts: list[Decimal]) -> None:
    assume(any(parts))
    allocated = allocate(total, parts)
    assert sum(allocated) == total
    with exact():
        for part, weight in zip(allocated, parts, strict=True):
            off = abs(Decimal(part) * sum(parts, ZERO) - total * weight)
            assert off < sum(parts, ZERO), "no part strays by a whole unit from its share"
            assert weight or part == 0


@given(amounts, currencies)
def test_rounding_strays_by_half_a_unit_at_most(amount: Decimal, currency: str) -> None:
    with exact():
        off = abs(from_minor(to_minor(amount, currency), currency) - amount)
        assert off * 2 * 10 ** exponent(currency) <= 1


@given(amounts, currencies)
def test_rounding_is_symmetrical(amount: Decimal, currency: str) -> None:
    assert to_minor(amount.copy_negate(), currency) == -to_minor(amount, currency)


@given(amounts)
def test_plain_notation_is_the_same_number(amount: Decimal) -> None:
    text = plain(amount)
    assert check_decimal(Decimal(text)) == amount
    assert "E" not in text
    assert "." not in text or not text.endswith("0")
