"""Random histories: whatever is invoiced when, the lines add up to one rating of all events.

The rating they are held against is written out here, without the product's own.
"""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tests.support.books import CALLS, Books
from tests.support.clock import FakeClock
from tests.support.metering import fetch

STEPS = 40
START = datetime(2026, 1, 31, tzinfo=UTC)
BOUNDARIES = [
    datetime(2026, month, day, tzinfo=UTC)
    for month, day in ((1, 31), (2, 28), (3, 31), (4, 30), (5, 31))
]
CHARGES: tuple[dict[str, object], ...] = (
    {
        "pricing_model": "tiered",
        "metric_key": "api_calls",
        "tiers": [{"up_to": 500, "unit_price": "0.013"}, {"up_to": None, "unit_price": "0.0071"}],
    },
    {"pricing_model": "per_unit", "metric_key": "peak", "unit_price": "1.337"},
    {"pricing_model": "per_unit", "metric_key": "level", "unit_price": "2.5"},
    {
        "pricing_model": "flat_fee",
        "metric_key": None,
        "amount": "9.99",
        "billing": "in_advance",
    },
)

Period = datetime
Owed = dict[tuple[str | None, Period], int]


@pytest.mark.parametrize("seed", range(6))
async def test_the_lines_add_up(books: Books, clock: FakeClock, seed: int) -> None:
    chance = random.Random(seed)
    events: list[tuple[str, datetime, Decimal]] = []
    await _start(books)
    clock.set(START)
    for _ in range(STEPS):
        clock.advance(timedelta(hours=chance.randrange(0, 144)))
        clock.set(min(clock.now, BOUNDARIES[-1] - timedelta(days=1)))
        if chance.random() < 0.7:
            events.append(await _use(books, clock.now, chance))
        else:
            await _invoice(books, clock.now - timedelta(hours=chance.randrange(0, 72)))
    clock.set(BOUNDARIES[-1])
    await _invoice(books, BOUNDARIES[-1])

    assert await _billed(books) == _owed(events)
    assert await _invoice(books, BOUNDARIES[-1]) == 409
    await _check_totals(books)


async def _start(books: Books) -> None:
    await books.metric(**CALLS)
    await books.metric(key="peak", aggregation="max")
    await books.metric(key="level", aggregation="last")
    await books.plan(*CHARGES, effective_from="2026-01-01T00:00:00Z")
    await books.customer()
    await books.subscribe(start="2026-01-31")


async def _use(books: Books, now: datetime, chance: random.Random) -> tuple[str, datetime, Decimal]:
    """An event of any time since the start, so most are late."""
    metric_key = chance.choice(("api_calls", "peak", "level"))
    at = START + (now - START) * chance.randrange(0, 1000) / 1000
    at = at.replace(microsecond=0)
    value = Decimal(chance.randrange(0, 40_000)) / 100
    await books.use(str(value), at.isoformat(), metric_key=metric_key)
    return metric_key, at, value


async def _invoice(books: Books, cutoff: datetime) -> int:
    response = await books.client.post(
        "/v1/invoices", json={"customer_id": "acme", "cutoff_date": cutoff.isoformat()}
    )
    assert response.status_code in (201, 409, 422), response.text
    return response.status_code


async def _billed(books: Books) -> Owed:
    rows = await fetch(
        books.context.database,
        "SELECT metric_key, period_start, sum(amount_minor)::bigint FROM invoice_lines"
        " WHERE charge_id IS NOT NULL GROUP BY 1, 2 HAVING sum(amount_minor) <> 0",
    )
    return {(key, start): amount for key, start, amount in rows}  # type: ignore[misc]


def _owed(events: list[tuple[str, datetime, Decimal]]) -> Owed:
    used: defaultdict[tuple[str, Period], list[Decimal]] = defaultdict(list)
    # By time; sorting keeps the order of arrival among equals.
    for metric_key, at, value in sorted(events, key=lambda event: event[1]):
        used[metric_key, max(one for one in BOUNDARIES if one <= at)].append(value)
    owed: Owed = {(None, start): 999 for start in BOUNDARIES[:-1]}
    for (metric_key, start), values in used.items():
        owed[metric_key, start] = _cents(metric_key, values)
    return {key: amount for key, amount in owed.items() if amount}


def _cents(metric_key: str, values: list[Decimal]) -> int:
    if metric_key == "peak":
        amount = max(values) * Decimal("1.337")
    elif metric_key == "level":
        amount = values[-1] * Decimal("2.5")
    else:
        calls = sum(values, Decimal(0))
        beyond = max(calls - 500, Decimal(0))
        amount = (calls - beyond) * Decimal("0.013") + beyond * Decimal("0.0071")
    return int((amount * 100).quantize(Decimal(1), ROUND_HALF_UP))


async def _check_totals(books: Books) -> None:
    """Every total is the sum of its lines, and the numbers have no gap."""
    rows = await fetch(
        books.context.database,
        "SELECT i.number, i.total_minor, sum(l.amount_minor) FROM invoices AS i"
        " JOIN invoice_lines AS l USING (invoice_id) GROUP BY 1, 2 ORDER BY 1",
    )
    assert [number for number, _, _ in rows] == list(range(1, len(rows) + 1))
    assert all(total == summed for _, total, summed in rows)
