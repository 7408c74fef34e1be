"""Events per second, accepted and landed, against a bare COPY into the same table.

On one durable cluster, each contender in a database of its own: COPY into the events table with its
indexes, on one connection and on two; landing what waits in the inbox (keys, events, rollups,
inbox), by one worker process and by two; accepting batches, from the bytes of the body to the bytes
of the answer; all of it over HTTP, duplicates included; single events, grouped and apart. Rounds
are interleaved, ratios are the medians of the rounds' ratios. At the end everything is counted.
"""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from statistics import median

from benchmarks.ingestion import cluster, over_http
from benchmarks.ingestion.cluster import Bench
from benchmarks.report import SECOND_NS, Figure, at_least, at_most, interleaved, publish, shown

ROUNDS = 3
EVENTS = 200_000
SINGLES = {16: 16_000, 64: 32_000}
MEMORY_MAX_MIB = "128"
NS_PER_MS = 1_000_000

COPY, COPY_BOTH = "COPY, 1 connection", "COPY, 2 connections"
LAND, LAND_BOTH = "land, 1 worker", "land, 2 workers"
ACCEPT, ACCEPT_BOTH = "accept, 1 process", "accept, 2 processes"
HTTP = "over HTTP, accepted and landed"


def main() -> None:
    peaks: dict[str, list[int]] = {}
    p99: dict[str, list[int]] = {}
    with cluster.running() as bench:
        contenders = _contenders(bench, peaks, p99)
        rates = interleaved(contenders, ROUNDS)
        asyncio.run(cluster.check_books(bench))
    publish("ingest: events of 200 bytes, 1,000 customers, 5 metrics", _figures(rates, p99, peaks))


def _contenders(
    bench: Bench, peaks: dict[str, list[int]], p99: dict[str, list[int]]
) -> Mapping[str, Callable[[], int]]:
    def rate(
        name: str, part: str, *, processes: int = 1, count: int = EVENTS, more: str = ""
    ) -> int:
        if part == "land":
            bench.queue(name, count * processes)
        done = bench.run(part, name, count, processes=processes, more=more)
        p99.setdefault(name, []).append(max(each.p99_ns for each in done))
        if part != "land":
            bench.expect(name, sum(each.sent for each in done))
        took_ns = max(each.took_ns for each in done)
        return sum(each.count for each in done) * SECOND_NS // took_ns

    def http() -> int:
        done = over_http.run(bench, HTTP, EVENTS)
        peaks.setdefault("API", []).append(done.api_mib)
        peaks.setdefault("worker", []).append(done.worker_mib)
        return done.count * SECOND_NS // done.took_ns

    contenders: dict[str, Callable[[], int]] = {
        COPY: partial(rate, COPY, "copy"),
        LAND: partial(rate, LAND, "land"),
        COPY_BOTH: partial(rate, COPY_BOTH, "copy", processes=2),
        LAND_BOTH: partial(rate, LAND_BOTH, "land", processes=2),
        ACCEPT: partial(rate, ACCEPT, "accept"),
        ACCEPT_BOTH: partial(rate, ACCEPT_BOTH, "accept", processes=2),
        HTTP: http,
    }
    for clients, count in SINGLES.items():
        for name, part in (("grouped", "grouped"), ("apart", "separate")):
            title = _singles(name, clients)
            contenders[title] = partial(rate, title, part, count=count, more=str(clients))
    return contenders


def _singles(name: str, clients: int) -> str:
    return f"single events {name}, {clients} clients"


def _figures(
    rates: Mapping[str, list[int]], p99: Mapping[str, list[int]], peaks: Mapping[str, list[int]]
) -> list[Figure]:
    figures = [shown(f"{name}, events per second", median(each)) for name, each in rates.items()]
    figures += [
        _ratio(LAND, rates, COPY, "0.60"),
        _ratio(LAND_BOTH, rates, COPY_BOTH, "0.55"),
        _ratio(HTTP, rates, COPY, "0.65"),
        _ratio(ACCEPT, rates, COPY, "4"),
        _ratio(ACCEPT_BOTH, rates, COPY, None),
    ]
    for clients, goal in ((16, "3"), (64, "6")):
        grouped, apart = _singles("grouped", clients), _singles("apart", clients)
        figures += [
            _ratio(grouped, rates, apart, goal),
            at_most(
                f"p99 of {grouped} / apart",
                median(
                    [
                        Decimal(one) / other
                        for one, other in zip(p99[grouped], p99[apart], strict=True)
                    ]
                ),
                "1",
            ),
            shown(f"p99 of {grouped}, ms", median(p99[grouped]) / Decimal(NS_PER_MS)),
        ]
    for process in ("API", "worker"):
        figures.append(
            at_most(f"peak memory of {process}, MiB", max(peaks[process]), MEMORY_MAX_MIB)
        )
    return figures


def _ratio(name: str, rates: Mapping[str, list[int]], baseline: str, goal: str | None) -> Figure:
    pairs = zip(rates[name], rates[baseline], strict=True)
    ratio = median([Decimal(ours) / theirs for ours, theirs in pairs])
    title = f"{name} / {baseline}"
    return shown(title, ratio) if goal is None else at_least(title, ratio, goal)


if __name__ == "__main__":
    main()
