"""The same bills by other means: usage by duckdb from the file, prices in whole numbers.

Nothing of ABAXUS is used here, so that an agreement means something.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

Key = tuple[str, str, str]
"""Carrier, UTC month (2013-01), metric; the metric is "" for the base fee."""

BASE_FEE = ""
BASE_FEE_CENTS = 500_00

_QUERY = Path(__file__).with_suffix(".sql")


def rerate(flights: Path, carriers: Sequence[str], months: Sequence[str]) -> dict[Key, int]:
    """What every carrier owes for every month, in cents, by charge."""
    with duckdb.connect() as database:
        rows = database.execute(_QUERY.read_text(), {"path": str(flights)}).fetchall()
    used = {(carrier, month): quantities for carrier, month, *quantities in rows}
    return {
        (carrier, month, metric): cents
        for carrier in carriers
        for month in months
        for metric, cents in _owed(*used.get((carrier, month), (0, 0, 0, 0, 0)))
    }


def difference(owed: Mapping[Key, int], invoices: Sequence[Mapping[str, Any]]) -> int:
    """The cents by which invoices and re-rating differ, line by line, signs ignored."""
    billed: dict[Key, int] = dict.fromkeys(owed, 0)
    for invoice in invoices:
        for line in invoice["line_items"]:
            key = invoice["customer_id"], line["period_start"][:7], line["metric_key"] or BASE_FEE
            billed[key] = billed.get(key, 0) + line["amount"]
    totals = sum(invoice["total_amount"] for invoice in invoices)
    lines = sum(abs(cents - owed.get(key, 0)) for key, cents in billed.items())
    return lines + abs(totals - sum(owed.values()))


def _owed(
    flights: int, miles: int, aircraft: int, delay_hundredths: int, longest_leg: int
) -> Iterator[tuple[str, int]]:
    yield BASE_FEE, BASE_FEE_CENTS
    yield "flights", _tiers(flights, [(1_000, 12_00), (3_000, 9_50), (None, 7_25)])
    cent_hundredths = _tiers(miles, [(500_000, 40), (2_000_000, 30), (None, 25)])
    yield "miles", _half_up(cent_hundredths, 100)
    yield "aircraft", -(-aircraft // 10) * 150_00
    yield "departure_delay_p95", _half_up(max(delay_hundredths, 0) * 1_50, 100)
    yield "longest_leg", longest_leg * (10 if longest_leg <= 300 else 25)


def _tiers(quantity: int, tiers: Sequence[tuple[int | None, int]]) -> int:
    """Each tier's share of a whole quantity at the tier's own price."""
    total = lower = 0
    for up_to, price in tiers:
        upper = quantity if up_to is None else min(quantity, up_to)
        total += max(upper - lower, 0) * price
        lower = max(lower, upper)
    return total


def _half_up(numerator: int, denominator: int) -> int:
    """A quotient that is not negative, rounded, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
