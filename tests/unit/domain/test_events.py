from decimal import Decimal
from typing import Any

import msgspec
import pytest

from abaxus_core.domain.events import PROPERTIES_MAX, Event, check_active, latest, spelled
from abaxus_core.errors import AbaxusError, Conflict
from tests.unit.domain.samples import at, metric

NOW = at("2026-04-15T12:00")
EVENT = Event(
    customer_id="acme",
    metric_key="calls",
    value=Decimal("1.5"),
    timestamp=NOW,
    idempotency_key="k1",
)


def test_a_fitting_event_passes() -> None:
    spelled(EVENT, metric(), latest(NOW))


def test_24_hours_ahead_is_still_taken() -> None:
    event = msgspec.structs.replace(EVENT, timestamp=at("2026-04-16T12:00"))
    spelled(event, metric(), latest(NOW))


@pytest.mark.parametrize(
    ("event", "of", "code", "field"),
    [
        ({}, {"value_type": "integer"}, "VALIDATION_FAILED", "value"),
        ({"value": Decimal("NaN")}, {"value_type": "integer"}, "VALIDATION_FAILED", "value"),
        ({"value": Decimal("0.00000000001")}, {}, "VALIDATION_FAILED", "value"),
        (
            {"timestamp": at("2026-04-16T12:00:00.000001")}, {},
            "TIMESTAMP_IN_FUTURE", "timestamp",
        ),
        (
            {"properties": {str(n): 1 for n in range(PROPERTIES_MAX + 1)}}, {},
            "VALIDATION_FAILED", "properties",
        ),
        ({"idempotency_key": ""}, {}, "VALIDATION_FAILED", "idempotency_key"),
        ({"idempotency_key": "x" * 256}, {}, "VALIDATION_FAILED", "idempotency_key"),
        ({"properties": {"text": "x" * 16 * 1024}}, {}, "VALIDATION_FAILED", "properties"),
        (
            {"properties": {"other": "x"}}, {"aggregation": "unique_count", "property": "tail"},
            "VALIDATION_FAILED", "properties.tail",
        ),
        (
            {"properties": {"tail": None}}, {"aggregation": "unique_count", "property": "tail"},
            "VALIDATION_FAILED", "properties.tail",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_where(
    event: dict[str, Any], of: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(AbaxusError) as refused:
        spelled(msgspec.structs.replace(EVENT, **event), metric(**of), latest(NOW))
    assert (refused.value.code, refused.value.field) == (code, field)


def test_a_whole_decimal_is_an_integer() -> None:
    event = msgspec.structs.replace(EVENT, value=Decimal("2.000"))
    spelled(event, metric(value_type="integer"), latest(NOW))


def test_a_deactivated_metric_takes_nothing_new() -> None:
    check_active(metric())
    with pytest.raises(Conflict) as refused:
        check_active(metric(status="inactive"))
    assert (refused.value.code, refused.value.field) == ("METRIC_INACTIVE", "metric_key")
