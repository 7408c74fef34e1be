"""Older spellings become today's; both together must say the same."""

from decimal import Decimal

import pytest

from abaxus_core.errors import InvalidInput
from abaxus_core.http import spellings

TIERS = [{"up_to": None, "unit_amount": Decimal("0.5")}]


def test_a_metric_is_renamed_and_the_sent_tree_is_left_alone() -> None:
    sent = {"display_name": "Calls", "aggregation_type": "sum", "key": "k"}
    assert spellings.metric(sent) == {"name": "Calls", "aggregation": "sum", "key": "k"}
    assert set(sent) == {"display_name", "aggregation_type", "key"}


def test_a_charge_is_renamed_to_the_depth_of_its_tiers() -> None:
    sent = {"charges": [{"model": "tiered", "properties": {"tiers": TIERS}}]}
    assert spellings.price_plan(sent) == {
        "charges": [
            {
                "pricing_model": "tiered",
                "tiers": [{"up_to": None, "unit_price": Decimal("0.5")}],
            }
        ]
    }


def test_other_properties_stay_to_be_refused() -> None:
    sent = {"charges": [{"properties": {"tiers": TIERS, "more": 1}}]}
    assert spellings.price_plan(sent)["charges"][0]["properties"] == {"more": 1}


def test_both_spellings_may_agree_but_not_differ() -> None:
    assert spellings.metric({"name": "a", "display_name": "a"}) == {"name": "a"}
    for sent, field in (
        ({"name": "a", "display_name": "b"}, "name"),
        ({"charges": [{"pricing_model": "a", "model": "b"}]}, "charges[0].pricing_model"),
        ({"charges": [{"tiers": [], "properties": {"tiers": TIERS}}]}, "charges[0].tiers"),
        (
            {"charges": [{}, {"tiers": [{"unit_price": 1, "unit_amount": 2}]}]},
            "charges[1].tiers[0].unit_price",
        ),
    ):
        with pytest.raises(InvalidInput) as refused:
            spellings.price_plan(sent)
        assert refused.value.field == field


@pytest.mark.parametrize("odd", [None, 1, "x", {}, [None, 1, "x", [[]]]])
def test_what_is_no_list_of_objects_is_left_to_the_decoder(odd: object) -> None:
    assert spellings.price_plan({"charges": odd}) == {"charges": odd}
    assert spellings.price_plan({"charges": [{"tiers": odd}]}) == {"charges": [{"tiers": odd}]}
    assert spellings.price_plan({"charges": [{"properties": odd}]}) == {
        "charges": [{"properties": odd}]
    }
