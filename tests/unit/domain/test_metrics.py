from decimal import Decimal

import pytest

from abaxus_core.domain.aggregation import Aggregation
from abaxus_core.domain.metrics import check_aggregation
from abaxus_core.errors import InvalidInput


@pytest.mark.parametrize(
    ("aggregation", "property_name", "percentile"),
    [("sum", None, None), ("unique_count", "tailnum", None), ("percentile", None, Decimal(95))],
)
def test_what_an_aggregation_needs(
    aggregation: Aggregation, property_name: str | None, percentile: Decimal | None
) -> None:
    check_aggregation(aggregation, property_name=property_name, percentile=percentile)


@pytest.mark.parametrize(
    ("aggregation", "property_name", "percentile", "field"),
    [
        ("sum", "tailnum", None, "property"),
        ("sum", None, Decimal(95), "percentile"),
        ("unique_count", None, None, "property"),
        ("unique_count", "", None, "property"),
        ("percentile", None, None, "percentile"),
        ("percentile", None, Decimal(0), "percentile"),
        ("percentile", None, Decimal(100), "percentile"),
        ("percentile", None, Decimal("NaN"), "percentile"),
    ],
)
def test_what_it_must_not_have(
    aggregation: Aggregation, property_name: str | None, percentile: Decimal | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_aggregation(aggregation, property_name=property_name, percentile=percentile)
    assert refused.value.field == field
