"""Card numbers are told from provider ids by length and check digit."""

import pytest

from abaxus_core.domain.card_numbers import looks_like_card_number


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "378282246310005",
        "4222222222222",
        "6304000000000000000",
    ],
)
def test_card_numbers_are_recognised(text: str) -> None:
    assert looks_like_card_number(text)


@pytest.mark.parametrize(
    "text",
    ["", "pm_ok", "cus_4242424242424242", "4242424242424241", "424242424242", "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢"],
)
def test_other_references_are_not(text: str) -> None:
    assert not looks_like_card_number(text)
