"""Aggregation cases: events as our ingestion would take them, aggregated over their window."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from abaxus_core.domain.aggregation import AGGREGATIONS, Aggregation, Measurement, aggregate
from abaxus_core.domain.digest import event_digest
from abaxus_core.domain.instants import parse_instant
from abaxus_core.domain.periods import Period
from tests.vectors.case import Case, NotApplicable
from tests.vectors.pricing import round_as_stated, rounded

OUR_NAMES: Mapping[str, str] = MappingProxyType({"latest": "last"})
FEATURES_LATER = ("filters", "exclude", "group_by")
RESOLUTION = timedelta(microseconds=1)

Event = Mapping[str, Any]


def _aggregate(case: Case) -> dict[str, Any]:
    spec = case.input["spec"]
    if any(spec.get(feature) for feature in FEATURES_LATER):
        raise NotApplicable("dimensional-filter")
    aggregation = _aggregation(spec)
    window = _window(case)
    _refuse_other_conventions(case, window)
    measured = _measurements(case, window)
    percentile = spec.get("percentile")
    value = aggregate(
        aggregation,
        measured,
        percentile=None if percentile is None else Decimal(str(percentile)),
    )
    if "lago_latest_floor_zero" in case.conventions and value < 0:
        raise NotApplicable("negative-last")
    if spec.get("rounding"):
        value = round_as_stated(value, spec["rounding"])
    return {"value": value, "events_count": len(measured)}


def _aggregation(spec: Mapping[str, Any]) -> Aggregation:
    name = OUR_NAMES.get(spec["type"], spec["type"])
    if name not in AGGREGATIONS:
        raise NotApplicable("aggregation")
    aggregation: Aggregation = name
    return aggregation


def _window(case: Case) -> Period:
    end = parse_instant(case.input["to"])
    if case.input.get("to_inclusive"):
        end += RESOLUTION
    return Period(start=parse_instant(case.input["from"]), end=end)


def _refuse_other_conventions(case: Case, window: Period) -> None:
    spec = case.input["spec"]
    events = case.input["events"]
    if any(event.get("properties", {}).get("operation_type") == "remove" for event in events):
        raise NotApplicable("unique-removal")
    before = any(parse_instant(event["timestamp"]) < window.start for event in events)
    if Decimal(spec.get("carry_in") or 0) != 0 or (spec.get("recurring") and before):
        raise NotApplicable("carried-usage")
    if "lago_id_plus_timestamp_identity" in case.conventions and len(_once(events)) < len(events):
        raise NotApplicable("event-identity")


def _measurements(case: Case, window: Period) -> list[Measurement]:
    taken = []
    for arrival, event in enumerate(_once(case.input["events"])):
        occurred_at = parse_instant(event["timestamp"])
        measured = _measurement(case.input["spec"], event, occurred_at, arrival)
        if measured is not None and window.contains(occurred_at):
            taken.append(measured)
    return taken


def _once(events: list[Event]) -> list[Event]:
    """An id is an idempotency key: the first event with it wins, whatever its timestamp."""
    seen = set()
    kept = []
    for place, event in enumerate(events):
        key = event_digest("vector", event.get("id") or f"event-{place}")
        if key not in seen:
            seen.add(key)
            kept.append(event)
    return kept


def _measurement(
    spec: Mapping[str, Any], event: Event, occurred_at: datetime, arrival: int
) -> Measurement | None:
    """What ingestion takes; None where it answers 422, as for a missing or non-numeric value."""
    if spec["type"] == "count":
        return Measurement(value=Decimal(1), occurred_at=occurred_at, arrival=arrival)
    found = _field(event.get("properties", {}), spec["field"])
    if found is None:
        return None
    if spec["type"] == "unique_count":
        return Measurement(
            value=Decimal(1), occurred_at=occurred_at, arrival=arrival, property=str(found)
        )
    try:
        value = Decimal(str(found))
    except InvalidOperation:
        return None
    if not value.is_finite():
        return None
    return Measurement(value=value, occurred_at=occurred_at, arrival=arrival)


def _field(properties: Mapping[str, Any], path: str) -> Any:
    if path in properties:
        return properties[path]
    found: Any = properties
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


KINDS: Mapping[str, Callable[[Case], dict[str, Any]]] = {
    "aggregate": _aggregate,
    "round_units": rounded,
}
