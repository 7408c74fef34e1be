"""What is asked of an API process, and what came of it, round by round."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from statistics import median
from typing import Final, Literal, TypeAlias

import msgspec

from benchmarks.entitlement_checks import server
from benchmarks.entitlement_checks.fleet import REDIS, Api, Fleet, Measured
from benchmarks.entitlement_checks.installation import Shape
from benchmarks.entitlement_checks.server import Times
from benchmarks.report import interleaved, median_of

NS_PER_MS: Final = 1_000_000
CLOSED_CONNECTIONS: Final = 32
OPEN_CONNECTIONS: Final = 64
# So few customers that nearly all of their checks find an answer in the cache.
HOT_CUSTOMERS: Final = 10

Kind: TypeAlias = Literal["bare GET", "check", "hot check", "nothing"]

_PATHS: Final[Mapping[Kind, str]] = {
    "bare GET": server.BARE,
    "check": server.CHECK,
    "hot check": server.CHECK,
}
_TIMED_PATHS: Final[Mapping[Kind, str]] = {
    "check": server.TIMED_CHECK,
    "hot check": server.TIMED_CHECK,
    "nothing": server.TIMED_NOTHING,
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done: rounds (`rounds_few` where much is compared), how long a run takes."""

    shape: Shape
    rounds: int
    rounds_few: int
    closed_ns: int
    open_ns: int


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of a kind to an API process; `rate` None: a closed loop.

    `timed`: by way of the clock in the process.
    """

    api: Api
    kind: Kind
    connections: int = CLOSED_CONNECTIONS
    rate: int | None = None
    timed: bool = False

    @property
    def path(self) -> str:
        return (_TIMED_PATHS if self.timed else _PATHS)[self.kind]

    @property
    def name(self) -> str:
        return f"{self.api.server}, {self.api.store}: {self.kind}"


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a round."""

    load: Measured
    times: Times | None


class Results:
    """What the rounds of a contender came to; a ratio is the median of the rounds' ratios.

    What else the machine does weighs on both sides of a round alike.
    """

    def __init__(self, rounds: Sequence[Ran]) -> None:
        self.rounds = rounds
        self._reports = [each.load.report for each in rounds]
        self._times = [each.times for each in rounds if each.times is not None]

    @property
    def rate(self) -> Decimal:
        return median_of([each.rate for each in self._reports])

    @property
    def p50_ms(self) -> Decimal:
        return median_of([each.p50_ns for each in self._reports]) / NS_PER_MS

    @property
    def p99_ms(self) -> Decimal:
        return median_of([each.p99_ns for each in self._reports]) / NS_PER_MS

    @property
    def late_p99_ms(self) -> Decimal:
        return median_of([each.late_p99_ns for each in self._reports]) / NS_PER_MS

    @property
    def in_handler_p50_ms(self) -> Decimal:
        return median_of([each.p50_ns for each in self._times]) / NS_PER_MS

    @property
    def in_handler_p99_ms(self) -> Decimal:
        return median_of([each.p99_ns for each in self._times]) / NS_PER_MS

    @property
    def lost(self) -> int:
        return sum(each.lost for each in self._reports)

    def cpu_us_each(self, part: str) -> Decimal:
        return median_of([each.load.cpu_us_each(part) for each in self.rounds])

    def rate_over(self, other: "Results") -> Decimal:
        return _ratio([each.rate for each in self._reports], [each.rate for each in other._reports])

    def p99_over(self, other: "Results") -> Decimal:
        return _ratio(
            [each.p99_ns for each in self._reports], [each.p99_ns for each in other._reports]
        )


def _ratio(ours: Sequence[int], theirs: Sequence[int]) -> Decimal:
    return median([Decimal(our) / their for our, their in zip(ours, theirs, strict=True)])


def contend(
    fleet: Fleet, plan: Plan, contenders: Mapping[str, Contender], rounds: int
) -> dict[str, Results]:
    """Run all in turn, round after round; what each came to, by the name it was given."""
    ran: dict[str, list[Ran]] = {name: [] for name in contenders}

    def run(name: str) -> int:
        ran[name].append(_run(fleet, plan, contenders[name]))
        return ran[name][-1].load.report.rate

    interleaved({name: partial(run, name) for name in contenders}, rounds)
    return {name: Results(each) for name, each in ran.items()}


def _run(fleet: Fleet, plan: Plan, contender: Contender) -> Ran:
    if contender.timed:
        fleet.times(contender.api)
    load = fleet.load(
        contender.api,
        contender.path,
        connections=contender.connections,
        for_ns=plan.closed_ns if contender.rate is None else plan.open_ns,
        rate=contender.rate,
        customers=HOT_CUSTOMERS if contender.kind == "hot check" else plan.shape.customers,
    )
    assert contender.rate is not None or not load.report.lost, (contender, load)
    return Ran(load=load, times=fleet.times(contender.api) if contender.timed else None)


def of_kinds(fleet: Fleet, *kinds: Kind) -> list[Contender]:
    """These kinds of requests to each process; hot ones only where there is a cache."""
    return [
        Contender(api=api, kind=kind)
        for api in fleet.apis
        for kind in kinds
        if kind != "hot check" or api.store == REDIS
    ]
