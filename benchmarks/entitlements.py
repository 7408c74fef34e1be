"""Entitlement checks over HTTP, against a bare Starlette GET of equal size on the same server.

On each ASGI server, with Redis (Valkey) and from PostgreSQL alone, among 10,000 customers with a
year behind them, while 2,000 events a second come in and land and customers change plans:
requests a second in a closed loop; p99 in an open one, from when a request was meant to be sent;
time in the handler, measured in the server. `python -m benchmarks.entitlements quick` only tries.
"""

import os
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from statistics import median
from typing import Final

import msgspec

from benchmarks.entitlement_checks import fleet, server
from benchmarks.entitlement_checks.feeder import CHANGES_A_SECOND, EVENTS_A_SECOND
from benchmarks.entitlement_checks.fleet import POSTGRESQL, REDIS, Api, Fleet, Measured
from benchmarks.entitlement_checks.installation import Shape
from benchmarks.entitlement_checks.server import Times
from benchmarks.report import (
    SECOND_NS,
    Figure,
    at_least,
    at_most,
    interleaved,
    median_of,
    publish,
    shown,
)

CLOSED_CONNECTIONS: Final = 32
OPEN_CONNECTIONS: Final = 64
NS_PER_MS: Final = 1_000_000
A_THOUSAND: Final = 1_000
LOADS: Final = (40, 60, 80)
FED_AT_LEAST: Final = "0.95"
RATE_GOALS: Final = {REDIS: "0.80", POSTGRESQL: "0.70"}
QUARTER_GOALS: Final = {REDIS: "1.5", POSTGRESQL: "2.2"}
HANDLER_GOALS_MS: Final = {(REDIS, 1): "0.3", (REDIS, 32): "0.5", (POSTGRESQL, 32): "1"}
HANDLERS_AT_ONCE: Final = (1, 32)
BELOW_MS: Final = "20"
THOUSAND_MS: Final = "1"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done: rounds, and how long a run takes."""

    shape: Shape
    rounds: int
    closed_ns: int
    open_ns: int


WHOLE: Final = Plan(
    shape=Shape(customers=10_000, events=1_000_000),
    rounds=5,
    closed_ns=3 * SECOND_NS // 2,
    open_ns=3 * SECOND_NS,
)
QUICK: Final = Plan(
    shape=Shape(customers=1_000, events=20_000),
    rounds=1,
    closed_ns=SECOND_NS,
    open_ns=SECOND_NS,
)


class _Bench:
    """What was measured, by a name for each contender, in the order of the rounds."""

    def __init__(self, running: Fleet, plan: Plan) -> None:
        self.fleet = running
        self.plan = plan
        self.lost = 0
        self.loads: dict[str, list[Measured]] = {}
        self.times: dict[str, list[Times]] = {}

    def closed(self, name: str, api: Api, path: str, connections: int) -> int:
        measured = self.fleet.load(api, path, connections=connections, for_ns=self.plan.closed_ns)
        assert not measured.report.lost, (name, measured)
        self.loads.setdefault(name, []).append(measured)
        return measured.report.rate

    def open(self, name: str, api: Api, path: str, rate: int) -> int:
        measured = self.fleet.load(
            api, path, connections=OPEN_CONNECTIONS, for_ns=self.plan.open_ns, rate=rate
        )
        self.lost += measured.report.lost
        self.loads.setdefault(name, []).append(measured)
        return measured.report.p99_ns

    def in_handler(self, name: str, api: Api, path: str, connections: int) -> int:
        self.fleet.times(api)
        self.closed(f"{name}, over HTTP", api, path, connections)
        times = self.fleet.times(api)
        self.times.setdefault(name, []).append(times)
        return times.p99_ns


def _closed_loops(bench: _Bench) -> list[Figure]:
    """Requests a second of ours against the bare GET's."""
    rates = _in_turn(bench, lambda name, api, path: bench.closed(name, api, path, 32))
    figures = []
    for name in rates:
        figures += _cost(name, bench.loads[name])
    for api in bench.fleet.apis:
        ratio = _ratio(rates[_ours(api)], rates[_bare(api)])
        title = f"requests/s: {_ours(api)} / bare GET"
        figures.append(at_least(title, ratio, RATE_GOALS[api.store]))
    return figures


def _cost(name: str, loads: Sequence[Measured]) -> list[Figure]:
    """How fast a closed loop was, and what each part of the fleet paid for a request."""
    rate = median_of([each.report.rate for each in loads])
    return [
        shown(f"{name}, requests/s", rate),
        *(
            shown(
                f"{name}, {part} CPU us a request",
                median_of([each.cpu_us_each(part) for each in loads]),
            )
            for part in ("server", "client", "PostgreSQL", "Redis")
        ),
    ]


def _quarter_load(bench: _Bench) -> list[Figure]:
    """p99 at a quarter of what the bare GET can, for both; and at a quarter of what ours can."""
    bare = {api: _rate(bench, _bare(api)) // 4 for api in bench.fleet.apis}
    p99 = _in_turn(
        bench,
        lambda name, api, path: bench.open(f"{name} at 25 %", api, path, bare[api]),
    )
    figures = []
    for api in bench.fleet.apis:
        figures += [
            _p99_ms(f"{_bare(api)} at {bare[api]}/s", p99[_bare(api)]),
            _p99_ms(f"{_ours(api)} at {bare[api]}/s", p99[_ours(api)]),
            at_most(
                f"p99 at 25 %: {_ours(api)} / bare GET",
                _ratio(p99[_ours(api)], p99[_bare(api)]),
                QUARTER_GOALS[api.store],
            ),
        ]
    return figures


def _in_turn(bench: _Bench, run: Callable[[str, Api, str], int]) -> dict[str, list[int]]:
    """Every API's bare GET and check, in rounds of all."""
    contenders = {}
    for api in bench.fleet.apis:
        contenders[_bare(api)] = partial(run, _bare(api), api, server.BARE)
        contenders[_ours(api)] = partial(run, _ours(api), api, server.CHECK)
    return interleaved(contenders, bench.plan.rounds)


def _under_load(bench: _Bench) -> list[Figure]:
    """p99 from PostgreSQL alone as the load grows to 80 % of what that server can."""
    contenders = {}
    for api in bench.fleet.apis:
        if api.store == POSTGRESQL:
            for percent in LOADS:
                name = f"{_ours(api)} at {percent} %"
                rate = _rate(bench, _ours(api)) * percent // 100
                contenders[name] = partial(bench.open, name, api, server.CHECK, rate)
    p99 = interleaved(contenders, max(1, bench.plan.rounds - 2))
    return [
        at_most(f"p99 ms of {name} of its maximum", median_of(each) / NS_PER_MS, BELOW_MS)
        for name, each in p99.items()
    ]


def _a_thousand(bench: _Bench) -> list[Figure]:
    """p99 at 1,000 a second on uvicorn with Redis, and what the bare GET has there."""
    (api,) = [
        each for each in bench.fleet.apis if (each.server, each.store) == (fleet.SERVERS[-1], REDIS)
    ]
    names = {path: f"{_name(api, path)} at 1,000/s" for path in (server.BARE, server.CHECK)}
    p99 = interleaved(
        {name: partial(bench.open, name, api, path, A_THOUSAND) for path, name in names.items()},
        bench.plan.rounds,
    )
    ours = names[server.CHECK]
    late = [each.report.late_p99_ns for each in bench.loads[ours]]
    return [
        _p99_ms(names[server.BARE], p99[names[server.BARE]]),
        shown(f"p50 ms of {ours}", _p50(bench.loads[ours])),
        shown("of which the client was late, p99 ms", median_of(late) / NS_PER_MS),
        at_most(f"p99 ms of {ours}", median_of(p99[ours]) / NS_PER_MS, THOUSAND_MS),
    ]


def _in_handler(bench: _Bench) -> list[Figure]:
    """From the handler's entry to its answer; and of one that only lets others have a turn."""
    contenders = {}
    for api in bench.fleet.apis:
        for at_once in HANDLERS_AT_ONCE:
            name = f"{api.name}, {at_once} at once"
            contenders[name] = partial(bench.in_handler, name, api, server.TIMED_CHECK, at_once)
        name = f"{api.name}, nothing, 32 at once"
        contenders[name] = partial(bench.in_handler, name, api, server.TIMED_NOTHING, 32)
    p99 = interleaved(contenders, max(1, bench.plan.rounds - 2))
    figures = []
    for api in bench.fleet.apis:
        for at_once in HANDLERS_AT_ONCE:
            name = f"{api.name}, {at_once} at once"
            title, value = f"p99 ms in the handler: {name}", median_of(p99[name]) / NS_PER_MS
            goal = HANDLER_GOALS_MS.get((api.store, at_once))
            figures.append(shown(title, value) if goal is None else at_most(title, value, goal))
        name = f"{api.name}, nothing, 32 at once"
        figures.append(shown(f"p99 ms in the handler: {name}", median_of(p99[name]) / NS_PER_MS))
    return figures


def _ours(api: Api) -> str:
    return _name(api, server.CHECK)


def _bare(api: Api) -> str:
    return _name(api, server.BARE)


def _name(api: Api, path: str) -> str:
    return f"{api.name}: {'bare GET' if path == server.BARE else 'check'}"


def _rate(bench: _Bench, name: str) -> int:
    return int(median_of([each.report.rate for each in bench.loads[name]]))


def _p99_ms(name: str, p99_ns: Sequence[int]) -> Figure:
    return shown(f"p99 ms of {name}", median_of(p99_ns) / NS_PER_MS)


def _p50(loads: Sequence[Measured]) -> Decimal:
    return median_of([each.report.p50_ns for each in loads]) / NS_PER_MS


def _ratio(ours: Sequence[int], bare: Sequence[int]) -> Decimal:
    """Median of the rounds' ratios: what else the machine does weighs on both of a round alike."""
    return median([Decimal(our) / other for our, other in zip(ours, bare, strict=True)])


def _measured(plan: Plan) -> list[Figure]:
    load_before = Decimal(os.getloadavg()[0])
    with fleet.running(plan.shape) as running:
        bench = _Bench(running, plan)
        figures = [
            *_closed_loops(bench),
            *_quarter_load(bench),
            *_under_load(bench),
            *_a_thousand(bench),
            *_in_handler(bench),
        ]
        strangers_ns = running.strangers_ns()
        fed = running.stop_feeding()
    events = Decimal(fed.events) * SECOND_NS / fed.took_ns
    changes = Decimal(fed.changes) * SECOND_NS / fed.took_ns
    return [
        *figures,
        at_most("requests of open loops lost", bench.lost, "0"),
        at_least("events taken in / meant to be", events / EVENTS_A_SECOND, FED_AT_LEAST),
        at_least("plans changed / meant to be", changes / CHANGES_A_SECOND, FED_AT_LEAST),
        shown("change of a plan, p50 ms", Decimal(fed.change_p50_ns) / NS_PER_MS),
        shown("change of a plan, longest ms", Decimal(fed.change_max_ns) / NS_PER_MS),
        shown("load average before", load_before),
        shown("cores that others had meanwhile", Decimal(strangers_ns) / SECOND_NS),
    ]


def main() -> None:
    plan = QUICK if sys.argv[1:] == ["quick"] else WHOLE
    publish(f"entitlements: {plan.shape.customers:,} customers", _measured(plan))


if __name__ == "__main__":
    main()
