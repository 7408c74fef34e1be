"""The load, in a process of its own: GETs over raw sockets, as one order after the other asks.

A closed loop asks again as soon as it is answered. An open loop sends at instants drawn beforehand
(Poisson) and counts from these, whenever it came to send: what waits for a free connection, or for
this process, has been waiting. What is refused, never sent or never answered is counted as lost,
and is slower than all the others.

`python -m benchmarks.entitlement_checks.caller` reads an Order a line, and prints a Report.
"""

import ctypes
import gc
import os
import platform
import random
import struct
import sys
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import cycle, islice
from time import perf_counter_ns
from typing import Final

import msgspec

from benchmarks import http_load
from benchmarks.entitlement_checks import population
from benchmarks.entitlement_checks.lines import Lines
from benchmarks.report import SECOND_NS

REQUESTS: Final = 20_000
WAITING_MAX: Final = 10_000
GRACE_NS: Final = 2 * SECOND_NS
LOST_NS: Final = 10 * SECOND_NS
PR_SET_TIMERSLACK: Final = 29
# Of the kernel's scheduler: who asks for shorter turns has them sooner, since Linux 6.12.
SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
SCHED_ATTR: Final = struct.Struct("IIQiIQQQ")
TURN_NS: Final = 100_000
_ANSWERED: Final = b"HTTP/1.1 200"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """`rate`: requests a second of an open loop; None: a closed one. `path`: without the query."""

    port: int
    path: str
    key: str
    customers: int
    connections: int
    for_ns: int
    rate: int | None = None
    seed: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`late_p99_ns`: how long after its instant a request was sent, which is ours to bear.

    `cpu_ns`: what this process used. `took_ns`: from the first request to the last answer.
    `refusal`: the first answer that was none.
    """

    asked: int
    lost: int
    took_ns: int
    cpu_ns: int
    p50_ns: int
    p99_ns: int
    late_p99_ns: int = 0
    refusal: str = ""

    @property
    def rate(self) -> int:
        return (self.asked - self.lost) * SECOND_NS // self.took_ns


class _Tally:
    """What became of the requests so far."""

    def __init__(self) -> None:
        self.asked = 0
        self.lost = 0
        self.refusal = ""
        self._took_ns = array("q")
        self._late_ns = array("q")

    def answered(self, answer: bytes, took_ns: int) -> None:
        if answer.startswith(_ANSWERED):
            self._took_ns.append(took_ns)
        else:
            self.lost += 1
            self.refusal = self.refusal or answer.decode()

    def late(self, late_ns: int) -> None:
        self._late_ns.append(late_ns)

    def report(self, took_ns: int, cpu_ns: int) -> Report:
        took = sorted(self._took_ns) + [LOST_NS] * self.lost
        assert len(took) == self.asked, (len(took), self.asked)
        return Report(
            asked=self.asked,
            lost=self.lost,
            took_ns=took_ns,
            cpu_ns=cpu_ns,
            p50_ns=_percentile(took, 50),
            p99_ns=_percentile(took, 99),
            late_p99_ns=_percentile(sorted(self._late_ns), 99),
            refusal=self.refusal,
        )


def _percentile(ascending: Sequence[int], percent: int) -> int:
    return ascending[(len(ascending) - 1) * percent // 100] if ascending else 0


def run(order: Order) -> Report:
    """Do what the order asks, on connections that have each been used once before."""
    chance = random.Random(order.seed)
    requests = _from_anywhere(_requests(order.path, order.key, order.customers), chance)
    tally = _Tally()
    with ExitStack() as stack:
        lines = Lines(stack, order.port, order.connections)
        _closed(lines, requests, 0, _Tally())
        since_ns, cpu_ns = perf_counter_ns(), time.process_time_ns()
        if order.rate is None:
            _closed(lines, requests, order.for_ns, tally)
        else:
            _open(lines, requests, _instants(order.rate, order.for_ns, chance), tally)
        took_ns, cpu_ns = perf_counter_ns() - since_ns, time.process_time_ns() - cpu_ns
    return tally.report(took_ns, cpu_ns)


@cache
def _requests(path: str, key: str, customers: int) -> list[bytes]:
    chance = random.Random(path)
    return [
        http_load.request("GET", f"{path}?{population.query(chance, customers)}", key=key)
        for _ in range(REQUESTS)
    ]


def _from_anywhere(requests: list[bytes], chance: random.Random) -> Iterator[bytes]:
    return islice(cycle(requests), chance.randrange(len(requests)), None)


def _instants(rate: int, for_ns: int, chance: random.Random) -> list[int]:
    """When to send, in nanoseconds from now on."""
    instants = []
    at_ns = 0
    while (at_ns := at_ns + round(chance.expovariate(rate) * SECOND_NS)) < for_ns:
        instants.append(at_ns)
    return instants


def _closed(lines: Lines, requests: Iterator[bytes], for_ns: int, tally: _Tally) -> None:
    """Once on every line, and on each again until `for_ns` are over."""
    until_ns = perf_counter_ns() + for_ns
    for line in lines.all:
        line.send(next(requests), perf_counter_ns())
    tally.asked += (under_way := len(lines.all))
    while under_way:
        for line in lines.readable():
            answer = line.receive()
            if answer is None:
                continue
            now_ns = perf_counter_ns()
            tally.answered(answer, now_ns - line.since_ns)
            if now_ns < until_ns:
                line.send(next(requests), now_ns)
                tally.asked += 1
            else:
                under_way -= 1


def _open(lines: Lines, requests: Iterator[bytes], instants: list[int], tally: _Tally) -> None:
    """Each at its instant, or as soon afterwards as a line is free."""
    since_ns = perf_counter_ns()
    idle = list(lines.all)
    waiting: deque[int] = deque()
    coming = iter([since_ns + instant for instant in instants])
    due_ns = next(coming, None)
    until_ns = since_ns + instants[-1] + GRACE_NS
    tally.asked += len(instants)
    while due_ns is not None or waiting or len(idle) < len(lines.all):
        now_ns = perf_counter_ns()
        while due_ns is not None and due_ns <= now_ns:
            if len(waiting) < WAITING_MAX:
                waiting.append(due_ns)
            else:
                tally.lost += 1
            due_ns = next(coming, None)
        while waiting and idle:
            line, at_ns = idle.pop(), waiting.popleft()
            tally.late(perf_counter_ns() - at_ns)
            line.send(next(requests), at_ns)
        now_ns = perf_counter_ns()
        if due_ns is None and now_ns > until_ns:
            break
        for line in lines.readable_within((due_ns or until_ns) - now_ns):
            answer = line.receive()
            if answer is not None:
                tally.answered(answer, perf_counter_ns() - line.since_ns)
                idle.append(line)
    tally.lost += len(waiting) + len(lines.all) - len(idle)


def _be_punctual() -> None:
    """Wake up when it is time, as a client does that has a machine of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Else the kernel lets every wait of less than 50 us end that much later.
    libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    short_turns = SCHED_ATTR.pack(SCHED_ATTR.size, os.SCHED_OTHER, 0, 0, 0, TURN_NS, 0, 0)
    if libc.syscall(SCHED_SETATTR[platform.machine()], 0, short_turns, 0):
        raise OSError(ctypes.get_errno(), "sched_setattr")


def main() -> None:
    _be_punctual()
    gc.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        report = run(msgspec.json.decode(line, type=Order))
        gc.collect()
        print(msgspec.json.encode(report).decode(), flush=True)


if __name__ == "__main__":
    main()
