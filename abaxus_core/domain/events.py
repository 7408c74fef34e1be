"""Usage events: what one is, and what a metric asks of it. Identity and digests are digest.py's."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.decimals import plain_and_checked
from abaxus_core.domain.instants import AHEAD_MAX, INSTANT_MIN, check_instant, microseconds
from abaxus_core.domain.metrics import Metric
from abaxus_core.errors import Conflict, InvalidInput

PROPERTIES_MAX = 64
PROPERTIES_BYTES_MAX = 16 * 1024
IDEMPOTENCY_KEY_MAX = 255
_EARLIEST_US = microseconds(INSTANT_MIN)


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One usage event as the caller sent it."""

    customer_id: str
    metric_key: str
    value: Decimal
    timestamp: datetime
    idempotency_key: str
    properties: Mapping[str, object] | None = None
    subscription_id: str | None = None


class Spelled(msgspec.Struct, frozen=True, gc=False):
    """What an event says beside whose it is, in the one spelling that is stored and fingerprinted.

    `occurred_us` as `instants.microseconds`, `value` in plain notation, `properties` as
    `properties_text` or None where there are none.
    """

    occurred_us: int
    value: str
    properties: str | None


_json = msgspec.json.Encoder(decimal_format="number", order="sorted")
_may_hold_exponent_or_minus_zero = re.compile(r"[0-9]E|-0").search
_read = json.JSONDecoder(parse_float=Decimal).decode


def properties_text(properties: Mapping[str, object]) -> str:
    """Return properties as JSON in one spelling: names in order, numbers as jsonb spells them.

    Zeros at the end stay. So what is stored says what was fingerprinted, for ever.

    >>> properties_text({"b": Decimal("1.50E+3"), "a": Decimal("-0.0")})
    '{"a":0.0,"b":1500}'
    """
    text = _json.encode(properties).decode()
    if _may_hold_exponent_or_minus_zero(text):
        return _json.encode(_with_plain_numbers(properties)).decode()
    return text


def stored_properties_text(stored: str) -> str:
    """Return the `properties_text` of what jsonb spells as `stored`."""
    return properties_text(_read(stored))


def _with_plain_numbers(tree: object) -> object:
    match tree:
        case Decimal():
            return msgspec.Raw(f"{abs(tree) if tree == 0 else tree:f}".encode())
        case dict():
            return {name: _with_plain_numbers(member) for name, member in tree.items()}
        case list():
            return [_with_plain_numbers(member) for member in tree]
        case _:
            return tree


def check_active(metric: Metric) -> None:
    """Raise METRIC_INACTIVE if the metric refuses new events."""
    if metric.status != "active":
        raise Conflict(
            f"metric {metric.key} is deactivated", code="METRIC_INACTIVE", field="metric_key"
        )


def latest(now: datetime) -> int:
    """Return the last instant that an event may carry, as `instants.microseconds`."""
    return microseconds(now + AHEAD_MAX)


def spelled(event: Event, metric: Metric, latest_us: int) -> Spelled:
    """Return the event in its one spelling. Raises InvalidInput, with the field, unless it fits
    its metric.

    A timestamp after `latest_us` is TIMESTAMP_IN_FUTURE. Whether the metric takes new events is
    check_active's: one that is known already is a replay all the same.
    """
    if not 1 <= len(event.idempotency_key) <= IDEMPOTENCY_KEY_MAX:
        raise InvalidInput(
            f"must have 1 to {IDEMPOTENCY_KEY_MAX} characters", field="idempotency_key"
        )
    value = plain_and_checked(event.value, "value")
    if metric.value_type == "integer" and "." in value:
        raise InvalidInput(f"metric {metric.key} takes whole numbers only", field="value")
    occurred_us = _occurred_us(event.timestamp, latest_us)
    return Spelled(occurred_us, value, _properties(event.properties, metric))


def _occurred_us(timestamp: datetime, latest_us: int) -> int:
    if timestamp.tzinfo is None:
        check_instant(timestamp, "timestamp")
    occurred_us = microseconds(timestamp)
    if not occurred_us >= _EARLIEST_US:
        check_instant(timestamp, "timestamp")
    if occurred_us > latest_us:
        raise InvalidInput(
            "must not be more than 24 hours ahead", code="TIMESTAMP_IN_FUTURE", field="timestamp"
        )
    return occurred_us


def _properties(properties: Mapping[str, object] | None, metric: Metric) -> str | None:
    given = properties or {}
    if metric.property is not None and given.get(metric.property) is None:
        raise InvalidInput(
            f"metric {metric.key} counts distinct values of this property",
            field=f"properties.{metric.property}",
        )
    if not given:
        return None
    if len(given) > PROPERTIES_MAX:
        raise InvalidInput(f"must have at most {PROPERTIES_MAX} keys", field="properties")
    text = properties_text(given)
    if len(text.encode()) > PROPERTIES_BYTES_MAX:
        raise InvalidInput(f"must take at most {PROPERTIES_BYTES_MAX} bytes", field="properties")
    return text
