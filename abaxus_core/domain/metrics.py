"""Metrics: what is counted and how it is aggregated. The aggregation itself is aggregation.py's."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from abaxus_core.domain.aggregation import Aggregation
from abaxus_core.domain.decimals import check_decimal
from abaxus_core.errors import InvalidInput

ValueType = Literal["decimal", "integer"]
MetricStatus = Literal["active", "inactive"]

_HUNDRED = Decimal(100)


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """`metric_no` is the short number that its events are stored under."""

    metric_no: int
    id: str
    key: str
    name: str
    description: str | None = None
    aggregation: Aggregation
    property: str | None = None
    percentile: Decimal | None = None
    value_type: ValueType = "decimal"
    status: MetricStatus = "active"
    created_at: datetime


def check_aggregation(
    aggregation: Aggregation, *, property_name: str | None, percentile: Decimal | None
) -> None:
    """Raise InvalidInput unless an aggregation has what it needs and nothing that it does not."""
    _check_presence("property", property_name is not None, aggregation == "unique_count")
    _check_presence("percentile", percentile is not None, aggregation == "percentile")
    if property_name == "":
        raise InvalidInput("must not be empty", field="property")
    if percentile is not None and not 0 < check_decimal(percentile, "percentile") < _HUNDRED:
        raise InvalidInput("must lie between 0 and 100, both excluded", field="percentile")


def _check_presence(field: str, present: bool, needed: bool) -> None:
    if present and not needed:
        raise InvalidInput("does not belong to this aggregation", field=field)
    if needed and not present:
        raise InvalidInput("is required by this aggregation", field=field)
