"""How long requests took: a histogram for Prometheus, counted in whole numbers.

There is one for every request, so it is kept as what it is, lists of counts, and becomes a family
of samples only when somebody collects it.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

NS_PER_SECOND: Final = 1_000_000_000
BUCKETS_S: Final = ("0.001", "0.0025", "0.005", "0.01", "0.025", "0.1", "0.5", "2.5", "10")

_BOUNDS_NS: Final = [int(Decimal(bound) * NS_PER_SECOND) for bound in BUCKETS_S]


@dataclass(slots=True)
class _Times:
    sum_ns: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))


class RequestTimes(Collector):
    """By method, route and status; the caller sees to it that these are few."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str, int], _Times] = {}

    def add(self, labels: tuple[str, str, int], took_ns: int) -> None:
        times = self._times.get(labels)
        if times is None:
            times = self._times[labels] = _Times()
        times.sum_ns += took_ns
        times.counts[bisect_left(_BOUNDS_NS, took_ns)] += 1

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(
            "abaxus_http_request_seconds",
            "Time to answer a request, by route and status.",
            labels=("method", "route", "status"),
        )
        for labels, times in self._times.items():
            family.add_metric(
                [str(label) for label in labels],
                buckets=_cumulative(times.counts),
                sum_value=times.sum_ns / NS_PER_SECOND,
            )
        yield family


def _cumulative(counts: list[int]) -> list[tuple[str, int]]:
    """Prometheus's buckets, each with all that took at most as long."""
    totals = [sum(counts[: place + 1]) for place in range(len(counts))]
    return list(zip((*BUCKETS_S, "+Inf"), totals, strict=True))
