"""Usage events: what one is, and what a metric asks of it. Identity and digests are digest.py's."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.decimals import check_decimal
from abaxus_core.domain.instants import AHEAD_MAX, check_instant
from abaxus_core.domain.metrics import Metric
from abaxus_core.errors import Conflict, InvalidInput

PROPERTIES_MAX = 64
PROPERTIES_BYTES_MAX = 16 * 1024
IDEMPOTENCY_KEY_MAX = 255


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One usage event as the caller sent it, its timestamp in UTC."""

    customer_id: str
    metric_key: str
    value: Decimal
    timestamp: datetime
    idempotency_key: str
    properties: dict[str, object] | None = None
    subscription_id: str | None = None


_json = msgspec.json.Encoder(decimal_format="number", order="sorted")


def properties_text(properties: Mapping[str, object]) -> str:
    """Return properties as JSON in one spelling: names in order, numbers as they are."""
    return _json.encode(properties).decode()


def check_active(metric: Metric) -> None:
    """Raise METRIC_INACTIVE if the metric refuses new events."""
    if metric.status != "active":
        raise Conflict(
            f"metric {metric.key} is deactivated", code="METRIC_INACTIVE", field="metric_key"
        )


def check_event(event: Event, metric: Metric, now: datetime) -> None:
    """Raise InvalidInput, with the field, unless the event fits its metric.

    A timestamp more than 24 h after `now` is TIMESTAMP_IN_FUTURE. Whether the metric takes new
    events is check_active's: one that is known already is a replay all the same.
    """
    if not 1 <= len(event.idempotency_key) <= IDEMPOTENCY_KEY_MAX:
        raise InvalidInput(
            f"must have 1 to {IDEMPOTENCY_KEY_MAX} characters", field="idempotency_key"
        )
    check_decimal(event.value, "value")
    if metric.value_type == "integer" and event.value != event.value.to_integral_value():
        raise InvalidInput(f"metric {metric.key} takes whole numbers only", field="value")
    if check_instant(event.timestamp, "timestamp") > now + AHEAD_MAX:
        raise InvalidInput(
            "must not be more than 24 hours ahead", code="TIMESTAMP_IN_FUTURE", field="timestamp"
        )
    _check_properties(event.properties, metric)


def _check_properties(properties: Mapping[str, object] | None, metric: Metric) -> None:
    given = properties or {}
    if len(given) > PROPERTIES_MAX:
        raise InvalidInput(f"must have at most {PROPERTIES_MAX} keys", field="properties")
    if given and len(properties_text(given).encode()) > PROPERTIES_BYTES_MAX:
        raise InvalidInput(f"must take at most {PROPERTIES_BYTES_MAX} bytes", field="properties")
    if metric.property is not None and given.get(metric.property) is None:
        raise InvalidInput(
            f"metric {metric.key} counts distinct values of this property",
            field=f"properties.{metric.property}",
        )
