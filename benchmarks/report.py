"""The common form of a benchmark: rounds interleaved, medians, a table, and one line of JSON last.

    {"figures": [{"name": …, "value": …, "goal": …, "holds": true}, …]}

A goal is a ratio to a baseline of the same run, or a bound; a figure without one is for the reader.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

ROUNDS = 5
SECOND_NS = 1_000_000_000

_JSON = msgspec.json.Encoder(decimal_format="number")
_THREE_PLACES = Decimal("0.001")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number; `goal` None where nothing is promised."""

    name: str
    value: Decimal
    goal: Decimal | None = None
    holds: bool = True


def shown(name: str, value: Decimal | int) -> Figure:
    """Return a figure that promises nothing."""
    return Figure(name=name, value=_rounded(value))


def at_least(name: str, value: Decimal | int, goal: str) -> Figure:
    """Return a figure that holds from its goal upwards."""
    measured, wanted = _rounded(value), Decimal(goal)
    return Figure(name=name, value=measured, goal=wanted, holds=measured >= wanted)


def at_most(name: str, value: Decimal | int, goal: str) -> Figure:
    """Return a figure that holds up to its goal."""
    measured, wanted = _rounded(value), Decimal(goal)
    return Figure(name=name, value=measured, goal=wanted, holds=measured <= wanted)


def _rounded(value: Decimal | int) -> Decimal:
    return Decimal(value).quantize(_THREE_PLACES)


def interleaved(
    contenders: Mapping[str, Callable[[], int]], rounds: int = ROUNDS
) -> dict[str, list[int]]:
    """Return what each contender measured in each round; a round runs all of them in turn."""
    measured: dict[str, list[int]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            measured[name].append(run())
    return measured


def median_of(numbers: Sequence[int]) -> Decimal:
    """Return the median, exactly."""
    return Decimal(median(map(Decimal, numbers)))


def publish(title: str, figures: Sequence[Figure]) -> None:
    """Print the table for people, and as the last line the figures for machines."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for column in ("value", "goal"):
        table.add_column(column, justify="right")
    table.add_column("holds")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,f}", _goal_text(figure), _holds_text(figure))
    Console().print(table)
    print(_JSON.encode({"figures": figures}).decode())


def _goal_text(figure: Figure) -> str:
    return "" if figure.goal is None else f"{figure.goal:,f}"


def _holds_text(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return "yes" if figure.holds else "NO"
