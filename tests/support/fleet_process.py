"""Forks API and worker processes from an interpreter that has imported everything.

`python -m tests.support.fleet_process` reads one order a line from standard input, carries it out
and answers with one line, the id of the process. At the end of the input all of them are killed.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, Literal, NoReturn, TypeAlias

import msgspec

from abaxus_core import processes
from abaxus_core.kernel import event_loop
from abaxus_plugins import adyen, outbox, sandbox, stripe
from tests.support import cached_process, payment_process

# Imported for the children's sake, which find them by name.
PLUGINS: Final = (adyen, outbox, sandbox, stripe)
Kind: TypeAlias = Literal["api", "worker", "cached_api", "payment_api", "payment_worker"]
RUNS: Final[Mapping[Kind, Callable[[Mapping[str, str]], Coroutine[None, None, None]]]] = {
    "api": processes.serve_api,
    "worker": processes.run_worker,
    "cached_api": cached_process.serve_api,
    "payment_api": payment_process.serve_api,
    "payment_worker": payment_process.run_worker,
}


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Run what `abaxus api` or `abaxus worker` runs, under exactly this environment; or the same
    on fakes or with faults, see payment_process.py and cached_process.py.
    """

    kind: Kind
    environ: dict[str, str]


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """SIGKILL; answered when the process is gone."""

    pid: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """Whether a process has ended by itself: answered with its id, or 0."""

    pid: int


def main() -> None:
    running: set[int] = set()
    for line in iter(sys.stdin.buffer.readline, b""):
        order = msgspec.json.decode(line, type=Start | Kill | Ended)
        if isinstance(order, Start):
            pid = _start(order)
            running.add(pid)
        elif isinstance(order, Kill):
            pid = order.pid
            _kill(pid)
            running.remove(pid)
        else:
            pid = os.waitpid(order.pid, os.WNOHANG)[0]
            running.discard(pid)
        sys.stdout.buffer.write(b"%d\n" % pid)
        sys.stdout.buffer.flush()
    for pid in running:
        _kill(pid)


def _start(order: Start) -> int:
    pid = os.fork()
    if pid == 0:
        _be(order)
    return pid


def _be(order: Start) -> NoReturn:
    """Run to the end; the child never returns into the parent's loop."""
    try:
        silence = os.open(os.devnull, os.O_RDWR)
        os.dup2(silence, sys.stdin.fileno())
        os.dup2(silence, sys.stdout.fileno())
        event_loop.run(RUNS[order.kind](order.environ))
    except BaseException:  # noqa: BLE001 - nobody above would say it
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
