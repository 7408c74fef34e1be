"""How an import goes, shown on standard error: a bar on a terminal, else a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from abaxus_core.importer.ledger import Progress
from abaxus_core.importer.run import Meter

LINE_EVERY_S: Final = 10
NS_PER_S: Final = 1_000_000_000


@contextmanager
def shown(name: str, *, size: int | None) -> Iterator[Meter]:
    """A meter for `size` bytes; of None only the rate can be told, not what is left."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield LineMeter(console.print, size=size, clock_ns=time.monotonic_ns)
        return
    with Bar(*_columns(size), console=console) as bar:
        yield _BarMeter(bar, bar.add_task(name, total=size, events=0, rate=0, why=""))


def _columns(size: int | None) -> tuple[ProgressColumn, ...]:
    known = (BarColumn(), TaskProgressColumn()) if size else ()
    left = TimeRemainingColumn() if size else TimeElapsedColumn()
    events = TextColumn("{task.fields[events]:,} events {task.fields[rate]:,}/s")
    return (
        TextColumn("{task.description}"),
        *known,
        events,
        left,
        TextColumn("{task.fields[why]}", markup=False),
    )


class LineMeter:
    """Says a line at most every LINE_EVERY_S: events, rate, and where known what time is left."""

    def __init__(
        self, say: Callable[[str], None], *, size: int | None, clock_ns: Callable[[], int]
    ) -> None:
        self._say = say
        self._size = size
        self._clock_ns = clock_ns
        self._said_ns = clock_ns()
        self._pace: _Pace | None = None

    def moved(self, progress: Progress, position: int) -> None:
        now_ns = self._clock_ns()
        if self._pace is None:
            self._pace = _Pace(now_ns, progress.total, position)
        if self._is_due(now_ns):
            rate = self._pace.rate(now_ns, progress.total)
            left = self._left(now_ns, position)
            self._say(f"{progress.total:,} events, {rate:,}/s{left}")

    def waits(self, why: str) -> None:
        if self._is_due(self._clock_ns()):
            self._say(f"waiting: {why}")

    def _is_due(self, now_ns: int) -> bool:
        due = now_ns - self._said_ns >= LINE_EVERY_S * NS_PER_S
        if due:
            self._said_ns = now_ns
        return due

    def _left(self, now_ns: int, position: int) -> str:
        if not self._size or self._pace is None:
            return ""
        left_s = self._pace.left_s(now_ns, position, self._size)
        left = "" if left_s is None else f", {timedelta(seconds=left_s)} left"
        return f", {100 * position // self._size} %{left}"


class _BarMeter:
    """Moves the bar and says beside it why it does not move."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._pace: _Pace | None = None

    def moved(self, progress: Progress, position: int) -> None:
        now_ns = time.monotonic_ns()
        if self._pace is None:
            self._pace = _Pace(now_ns, progress.total, position)
        self._bar.update(
            self._task,
            completed=position,
            events=progress.total,
            rate=self._pace.rate(now_ns, progress.total),
            why="",
        )

    def waits(self, why: str) -> None:
        self._bar.update(self._task, why=f"waiting: {why}")


class _Pace:
    """Measures from the first batch on, so that what an earlier import did does not count."""

    def __init__(self, now_ns: int, total: int, position: int) -> None:
        self._began_ns = now_ns
        self._total = total
        self._position = position

    def rate(self, now_ns: int, total: int) -> int:
        """Events a second; 0 before it can be told."""
        elapsed_ns = now_ns - self._began_ns
        return (total - self._total) * NS_PER_S // elapsed_ns if elapsed_ns else 0

    def left_s(self, now_ns: int, position: int, size: int) -> int | None:
        """Seconds until `size` is read at this pace; None before it can be told."""
        read = position - self._position
        if not read:
            return None
        return (now_ns - self._began_ns) * (size - position) // read // NS_PER_S
