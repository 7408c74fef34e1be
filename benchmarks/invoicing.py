"""Bulk invoicing, by one worker process and by two, against the floor; and beside a long history.

10,000 customers, 5 charges each, 1,000,000 events in the month that is invoiced; the same with ten
months and 10,000,000 events more that were invoiced before. A worker runs several chunks at once
and so keeps more than one core busy; what a second worker brings where each has a core to itself is
measured with a chunk at a time. `python -m benchmarks.invoicing 2000`
takes so many customers, with 100 events each in a month.
"""

import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from statistics import median

from benchmarks.bulk_billing import bulk, floor, installation
from benchmarks.bulk_billing.bulk import Crew, Ran
from benchmarks.bulk_billing.installation import HISTORY_MONTHS, Cluster, Shape
from benchmarks.report import SECOND_NS, Figure, at_least, at_most, interleaved, publish, shown

ROUNDS = 3
CUSTOMERS = 10_000
MEMORY_MAX_MIB = "128"

FLOOR = "floor"
ONE, TWO = "1 worker", "2 workers"
HISTORY = "1 worker, beside the history"
ONE_SERIAL, TWO_SERIAL = "1 worker, a chunk at a time", "2 workers, a chunk at a time each"


def main() -> None:
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else CUSTOMERS
    fresh = Shape(customers=customers)
    old = Shape(customers=customers, months_before=HISTORY_MONTHS)
    runs: dict[str, list[Ran]] = {}
    with installation.running() as cluster:
        cluster.make("fresh", fresh)
        cluster.make("old", old)
        took_ns = interleaved(_contenders(cluster, fresh, old, runs), ROUNDS)
    publish(
        f"invoicing: {customers:,} customers, {fresh.events_a_month:,} events in the month",
        _figures(took_ns, runs, customers),
    )


def _contenders(
    cluster: Cluster, fresh: Shape, old: Shape, runs: dict[str, list[Ran]]
) -> Mapping[str, Callable[[], int]]:
    def kept(name: str, database: str, run: Callable[[str], Ran]) -> Callable[[], int]:
        def measured() -> int:
            with cluster.clone(database) as dsn:
                ran = run(dsn)
            runs.setdefault(name, []).append(ran)
            return ran.took_ns

        return measured

    return {
        FLOOR: kept(FLOOR, "fresh", partial(floor.run, cluster)),
        **{
            name: kept(name, database, partial(_billed, cluster, shape, crew))
            for name, database, shape, crew in (
                (ONE, "fresh", fresh, Crew(workers=1)),
                (HISTORY, "old", old, Crew(workers=1)),
                (TWO, "fresh", fresh, Crew(workers=2)),
                (ONE_SERIAL, "fresh", fresh, Crew(workers=1, concurrency=1)),
                (TWO_SERIAL, "fresh", fresh, Crew(workers=2, concurrency=1)),
            )
        },
    }


def _billed(cluster: Cluster, shape: Shape, crew: Crew, dsn: str) -> Ran:
    return bulk.run(cluster, dsn, shape, crew)


def _figures(
    took_ns: Mapping[str, list[int]], runs: Mapping[str, list[Ran]], customers: int
) -> list[Figure]:
    return [
        *(
            shown(f"{name}, invoices per second", customers * SECOND_NS / Decimal(median(each)))
            for name, each in took_ns.items()
        ),
        *(figure for name, each in runs.items() for figure in _cpu(name, each, customers)),
        at_least(f"{ONE} / {FLOOR}", _ratio(took_ns[FLOOR], took_ns[ONE]), "0.5"),
        at_least(f"{TWO} / {FLOOR}", _ratio(took_ns[FLOOR], took_ns[TWO]), "0.8"),
        at_least(f"{TWO} / {ONE}", _ratio(took_ns[ONE], took_ns[TWO]), "1.6"),
        at_least(
            f"{TWO_SERIAL} / {ONE_SERIAL}", _ratio(took_ns[ONE_SERIAL], took_ns[TWO_SERIAL]), "1.6"
        ),
        at_most("time beside the history / without", _ratio(took_ns[HISTORY], took_ns[ONE]), "1.1"),
        at_most(
            "peak memory of a worker, MiB",
            max(ran.peak_mib for each in runs.values() for ran in each),
            MEMORY_MAX_MIB,
        ),
    ]


def _cpu(name: str, runs: list[Ran], customers: int) -> list[Figure]:
    """CPU time, which the load of the machine moves less than the clock."""
    python_us, database_us = (
        Decimal(median(each)) / customers
        for each in ([ran.python_us for ran in runs], [ran.database_us for ran in runs])
    )
    return [
        shown(f"{name}, µs of Python an invoice", python_us),
        shown(f"{name}, µs of PostgreSQL an invoice", database_us),
    ]


def _ratio(slow_ns: list[int], fast_ns: list[int]) -> Decimal:
    """Median of the rounds' ratios: what else the machine does weighs on all of a round alike."""
    return median([Decimal(one) / other for one, other in zip(slow_ns, fast_ns, strict=True)])


if __name__ == "__main__":
    main()
