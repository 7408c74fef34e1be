"""What is asked of an API process, and what came of it, round by round."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from statistics import median
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from benchmarks.entitlement_checks import bare, server
from benchmarks.entitlement_checks.fleet import (
    AS_IT_COMES,
    POSTGRESQL,
    REDIS,
    Api,
    Fleet,
    Measured,
)
from benchmarks.entitlement_checks.installation import Shape
from benchmarks.entitlement_checks.server import Calls, Times
from benchmarks.report import interleaved, median_of

T = TypeVar("T")

NS_PER_MS: Final = 1_000_000
CLOSED_CONNECTIONS: Final = 32
OPEN_CONNECTIONS: Final = 64
# So few customers that nearly all of their checks find an answer in the cache.
HOT_CUSTOMERS: Final = 10

Kind: TypeAlias = Literal["bare GET", "bare GET inside", "check", "hot check", "nothing"]

_PATHS: Final[Mapping[Kind, str]] = {
    "bare GET": bare.BARE,
    "bare GET inside": bare.BARE,
    "check": server.CHECK,
    "hot check": server.CHECK,
    "nothing": server.TIMED_NOTHING,
}
_TIMED_PATHS: Final[Mapping[Kind, str]] = {
    "check": server.TIMED_CHECK,
    "hot check": server.TIMED_CHECK,
    "nothing": server.TIMED_NOTHING,
}


_STORES: Final[Mapping[Kind, Sequence[str]]] = {
    "bare GET": (AS_IT_COMES,),
    "bare GET inside": (POSTGRESQL,),
    "nothing": (POSTGRESQL,),
    "check": (REDIS, POSTGRESQL),
    "hot check": (REDIS,),
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done: rounds (`rounds_few` where much is compared), how long a run takes."""

    shape: Shape
    rounds: int
    rounds_few: int
    closed_ns: int
    open_ns: int


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of a kind to an API process, so many at once; `rate` None: a closed loop.

    `clock`: measured in the process, where they come over HTTP or only the handler is called.
    """

    api: Api
    kind: Kind
    at_once: int = CLOSED_CONNECTIONS
    rate: int | None = None
    clock: Literal["over HTTP", "called"] | None = None

    @property
    def name(self) -> str:
        return f"{self.api.server}, {self.api.store}: {self.kind}"


class Results:
    """What the rounds of a contender came to; a ratio is the median of the rounds' ratios.

    What else the machine does weighs on both sides of a round alike.
    """

    def __init__(self, rounds: Sequence[Measured]) -> None:
        self._rounds = rounds
        self._reports = [each.report for each in rounds]

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
    def lost(self) -> int:
        return sum(each.lost for each in self._reports)

    @property
    def refusals(self) -> set[str]:
        """How those answers began that were none."""
        return {each.refusal for each in self._reports} - {""}

    def cpu_us_each(self, part: str) -> Decimal:
        return median_of([each.cpu_us_each(part) for each in self._rounds])

    def percent_answered_by(self, what: str) -> Decimal:
        """`hit`: by the cache; `kept`: by what had been read before."""
        answered = sum(each.answered_by[what] for each in self._rounds)
        return Decimal(100 * answered) / max(1, sum(each.asked for each in self._reports))

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
    loads = _in_turn(lambda each: _load(fleet, plan, each), contenders, rounds)
    return {name: Results(each) for name, each in loads.items()}


def contend_in_handler(
    fleet: Fleet, plan: Plan, contenders: Mapping[str, Contender]
) -> dict[str, Times]:
    """The same for the time from a handler's entry to its answer; medians of the rounds."""
    times = _in_turn(lambda each: _times(fleet, plan, each), contenders, plan.rounds_few)
    return {name: _median_times(each) for name, each in times.items()}


def _in_turn(
    run: Callable[[Contender], T], contenders: Mapping[str, Contender], rounds: int
) -> dict[str, list[T]]:
    ran: dict[str, list[T]] = {name: [] for name in contenders}

    def run_and_keep(name: str) -> int:
        ran[name].append(run(contenders[name]))
        return len(ran[name])

    interleaved({name: partial(run_and_keep, name) for name in contenders}, rounds)
    return ran


def _load(fleet: Fleet, plan: Plan, contender: Contender) -> Measured:
    return fleet.load(
        contender.api,
        (_TIMED_PATHS if contender.clock else _PATHS)[contender.kind],
        connections=contender.at_once,
        for_ns=plan.closed_ns if contender.rate is None else plan.open_ns,
        rate=contender.rate,
        customers=_customers(plan, contender),
    )


def _times(fleet: Fleet, plan: Plan, contender: Contender) -> Times:
    fleet.times(contender.api)
    if contender.clock == "over HTTP":
        _load(fleet, plan, contender)
    else:
        fleet.call(
            contender.api,
            Calls(
                at_once=contender.at_once,
                customers=_customers(plan, contender),
                for_ns=plan.closed_ns,
            ),
        )
    return fleet.times(contender.api)


def _customers(plan: Plan, contender: Contender) -> int:
    return HOT_CUSTOMERS if contender.kind == "hot check" else plan.shape.customers


def _median_times(rounds: Sequence[Times]) -> Times:
    return Times(
        count=sum(each.count for each in rounds),
        p50_ns=int(median_of([each.p50_ns for each in rounds])),
        p99_ns=int(median_of([each.p99_ns for each in rounds])),
    )


def of_kinds(fleet: Fleet, *kinds: Kind) -> list[Contender]:
    """These kinds of requests to each process that is asked for them."""
    return [
        Contender(api=api, kind=kind)
        for api in (*fleet.baselines, *fleet.apis)
        for kind in kinds
        if api.store in _STORES[kind]
    ]
