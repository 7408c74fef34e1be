"""Entitlement checks over HTTP, against a bare Starlette GET of equal size on the same server.

On each ASGI server, with Redis (Valkey) and from PostgreSQL alone, among 10,000 customers with a
year behind them, while 2,000 events a second come in and land and customers change plans:
requests a second in a closed loop; p99 in an open one, from when a request was meant to be sent;
time in the handler, measured in the server. `python -m benchmarks.entitlements quick` only tries.
"""

import os
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from benchmarks.entitlement_checks.contenders import (
    NS_PER_MS,
    OPEN_CONNECTIONS,
    Contender,
    Plan,
    Results,
    contend,
    contend_in_handler,
    of_kinds,
)
from benchmarks.entitlement_checks.feeder import CHANGES_A_SECOND, EVENTS_A_SECOND, Fed
from benchmarks.entitlement_checks.fleet import (
    AS_IT_COMES,
    POSTGRESQL,
    REDIS,
    SERVERS,
    Fleet,
    running,
)
from benchmarks.entitlement_checks.installation import Shape
from benchmarks.report import SECOND_NS, Figure, at_least, at_most, publish, shown

CHECKS: Final = ("check", "hot check")
LOADS: Final = (40, 60, 80)
AT_ONCE: Final = (1, 32)
CLOCKS: Final = ("called", "over HTTP")
FEED_GOAL: Final = "0.95"
RATE_GOALS: Final = {REDIS: "0.80", POSTGRESQL: "0.70"}
QUARTER_GOALS: Final = {REDIS: "1.5", POSTGRESQL: "2.2"}
HANDLER_GOALS_MS: Final = {(REDIS, 1): "0.3", (REDIS, 32): "0.5", (POSTGRESQL, 32): "1"}
LOADED_GOAL_MS: Final = "20"
THOUSAND_GOAL_MS: Final = "1"

WHOLE: Final = Plan(
    shape=Shape(customers=10_000, events=1_000_000),
    rounds=4,
    rounds_few=3,
    closed_ns=3 * SECOND_NS // 2,
    open_ns=5 * SECOND_NS // 2,
)
QUICK: Final = Plan(
    shape=Shape(customers=1_000, events=20_000),
    rounds=1,
    rounds_few=1,
    closed_ns=SECOND_NS,
    open_ns=SECOND_NS,
)


class _Bench:
    """The parts of the benchmark; each gives its figures. Those of the closed loop come first."""

    def __init__(self, fleet: Fleet, plan: Plan) -> None:
        self._fleet = fleet
        self._plan = plan
        self._closed: Mapping[str, Results] = {}
        self._lost = 0

    def closed_loop(self) -> list[Figure]:
        """Requests a second, and what they cost each part of the machine."""
        kinds = of_kinds(
            self._fleet, "bare GET", "bare GET inside", "nothing", "check", "hot check"
        )
        runs = {each.name: each for each in kinds}
        self._closed = self._contend(runs, self._plan.rounds)
        figures = []
        for name, results in self._closed.items():
            figures.append(shown(f"{name}, requests/s", results.rate))
            for part in ("server", "client", "PostgreSQL", "Redis"):
                used_us = results.cpu_us_each(part)
                figures.append(shown(f"{name}, {part} CPU us a request", used_us))
        figures += _found(runs, self._closed)
        for each in kinds:
            ratio = self._closed[each.name].rate_over(self._closed[_bare(each)])
            title = f"requests/s of {each.name} / bare GET"
            if each.kind in CHECKS:
                figures.append(at_least(title, ratio, RATE_GOALS[each.api.store]))
            elif each.kind != "bare GET":
                figures.append(shown(title, ratio))
        return figures

    def quarter_load(self) -> list[Figure]:
        """p99 of all at a quarter of what the bare GET on that server has come to."""
        runs = {
            each.name: replace(
                each,
                at_once=OPEN_CONNECTIONS,
                rate=int(self._closed[_bare(each)].rate) // 4,
            )
            for each in of_kinds(self._fleet, "bare GET", "check", "hot check")
        }
        found = self._contend(runs, self._plan.rounds)
        figures = [
            shown(f"p99 ms of {name} at {runs[name].rate}/s", results.p99_ms)
            for name, results in found.items()
        ]
        for name, each in runs.items():
            if each.kind in CHECKS:
                ratio = found[name].p99_over(found[_bare(each)])
                title = f"p99 at 25 % of {name} / bare GET"
                figures.append(at_most(title, ratio, QUARTER_GOALS[each.api.store]))
        return figures

    def under_load(self) -> list[Figure]:
        """p99 from PostgreSQL alone, up to 80 % of what that has come to; a bare GET at 80 % of its
        own, which leaves the cores as much to do."""
        runs = {
            f"{each.name} at {percent} % of its maximum": replace(
                each,
                at_once=OPEN_CONNECTIONS,
                rate=int(self._closed[each.name].rate) * percent // 100,
            )
            for each in of_kinds(self._fleet, "bare GET", "check")
            if each.api.store in (AS_IT_COMES, POSTGRESQL)
            for percent in (LOADS if each.kind == "check" else LOADS[-1:])
        }
        found = self._contend(runs, self._plan.rounds_few)
        return [
            _bounded(
                f"p99 ms of {name}",
                results.p99_ms,
                LOADED_GOAL_MS if runs[name].kind == "check" else None,
            )
            for name, results in found.items()
        ]

    def a_thousand(self) -> list[Figure]:
        """p99 at 1,000 a second on the faster server with Redis."""
        runs = {
            f"{each.name} at 1,000/s": replace(each, at_once=OPEN_CONNECTIONS, rate=1_000)
            for each in of_kinds(self._fleet, "bare GET", "hot check", "check")
            if each.api.server == SERVERS[-1] and each.api.store != POSTGRESQL
        }
        found = self._contend(runs, self._plan.rounds)
        figures = []
        for name, results in found.items():
            goal = THOUSAND_GOAL_MS if runs[name].kind in CHECKS else None
            figures += [
                shown(f"p50 ms of {name}", results.p50_ms),
                shown(f"p99 ms of {name}: late by the client", results.late_p99_ms),
                _bounded(f"p99 ms of {name}", results.p99_ms, goal),
            ]
        return figures + _found(runs, found)

    def in_handler(self) -> list[Figure]:
        """From the handler's entry to its answer.

        Over HTTP that includes what the process does meanwhile for the other requests, as "nothing"
        shows, which only lets others have a turn; so the goals are of handlers called in turn.
        """
        runs = {
            f"{each.name}, {at_once} at once, {clock}": replace(each, at_once=at_once, clock=clock)
            for each in of_kinds(self._fleet, "check", "hot check", "nothing")
            for at_once in AT_ONCE
            for clock in CLOCKS
            if clock == "over HTTP" or each.kind != "nothing"
        }
        figures = []
        for name, times in contend_in_handler(self._fleet, self._plan, runs).items():
            each = runs[name]
            is_meant = each.kind in CHECKS and each.clock == "called"
            goal = HANDLER_GOALS_MS.get((each.api.store, each.at_once)) if is_meant else None
            p50_ms, p99_ms = Decimal(times.p50_ns) / NS_PER_MS, Decimal(times.p99_ns) / NS_PER_MS
            figures += [
                shown(f"p50 ms in the handler, {name}", p50_ms),
                _bounded(f"p99 ms in the handler, {name}", p99_ms, goal),
            ]
        return figures

    def feed(self, fed: Fed) -> list[Figure]:
        """What went on meanwhile, as it was meant to."""
        events = Decimal(fed.events) * SECOND_NS / fed.took_ns
        changes = Decimal(fed.changes) * SECOND_NS / fed.took_ns
        return [
            at_most("requests lost", self._lost, "0"),
            at_least("events taken in / meant to be", events / EVENTS_A_SECOND, FEED_GOAL),
            at_least("plans changed / meant to be", changes / CHANGES_A_SECOND, FEED_GOAL),
            shown("change of a plan, p50 ms", Decimal(fed.change_p50_ns) / NS_PER_MS),
            shown("change of a plan, longest ms", Decimal(fed.change_max_ns) / NS_PER_MS),
        ]

    def _contend(self, runs: Mapping[str, Contender], rounds: int) -> dict[str, Results]:
        found = contend(self._fleet, self._plan, runs, rounds)
        self._lost += sum(results.lost for results in found.values())
        for name, results in found.items():
            for refusal in results.refusals:
                print(f"{name}: {refusal}", file=sys.stderr)
        return found


def _bare(contender: Contender) -> str:
    baseline = replace(contender.api, store=AS_IT_COMES)
    return replace(contender, api=baseline, kind="bare GET").name


def _found(runs: Mapping[str, Contender], found: Mapping[str, Results]) -> list[Figure]:
    """Of a hundred checks, how many were found in the cache or among what had been read before."""
    checks = [name for name, each in runs.items() if each.kind in CHECKS]
    of_redis = [name for name in checks if runs[name].api.store == REDIS]
    return [
        *(
            shown(f"{name}: found in the cache, %", found[name].percent_answered_by("hit"))
            for name in of_redis
        ),
        *(shown(f"{name}: kept, %", found[name].percent_answered_by("kept")) for name in checks),
    ]


def _bounded(name: str, value: Decimal, goal: str | None) -> Figure:
    return shown(name, value) if goal is None else at_most(name, value, goal)


def _figures(plan: Plan) -> list[Figure]:
    load_before = Decimal(os.getloadavg()[0])
    with running(plan.shape) as fleet:
        bench = _Bench(fleet, plan)
        figures = [
            *bench.closed_loop(),
            *bench.quarter_load(),
            *bench.under_load(),
            *bench.a_thousand(),
            *bench.in_handler(),
        ]
        cores = fleet.cores()
        figures += bench.feed(fleet.stop_feeding())
    return [
        *figures,
        shown("load average before", load_before),
        *(shown(f"cores that {who} had", share) for who, share in cores.items()),
    ]


def main() -> None:
    plan = QUICK if sys.argv[1:] == ["quick"] else WHOLE
    publish(f"entitlements: {plan.shape.customers:,} customers", _figures(plan))


if __name__ == "__main__":
    main()
